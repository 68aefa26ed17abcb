"""Functions of labels and probabilities; nothing here imports torch."""
