"""The command `brain-tumor audit`: duplicates between the folders of any image data set."""
