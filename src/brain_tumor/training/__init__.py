"""The Lightning task, the run, and the calibration behind it."""
