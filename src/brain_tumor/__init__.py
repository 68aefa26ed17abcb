"""Classify brain MRI slices, and measure how far the scores can be believed."""

__version__ = "0.1.0"
