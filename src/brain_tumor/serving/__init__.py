"""Trained models in use: prediction, the page, export."""
