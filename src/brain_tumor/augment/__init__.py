"""From a split to packed arrays, train augmented and balanced."""
