"""The Lightning task, the cached output of frozen layers, the run."""
