"""Class activation maps as arrays: their scale and their size. Nothing here imports torch."""

import cv2
import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.float32]


def upsample(maps: Heat, size: int) -> Heat:
    """Scale maps to the image, bilinear with pixel centres aligned.

    Args:
        maps: (images, height, width).
        size: pixels a side of the result.

    Returns:
        (images, size, size); range and zero maps are kept.
    """
    scaled = np.empty((len(maps), size, size), np.float32)
    for row, heat in enumerate(maps):
        scaled[row] = cv2.resize(heat, (size, size), interpolation=cv2.INTER_LINEAR)
    return scaled


def normalise(maps: Heat) -> Heat:
    """Scale each map to 0..1 by its own maximum; a map of zeros stays zero.

    Args:
        maps: (..., height, width), at least 0.
    """
    highest = maps.max(axis=(-2, -1), keepdims=True)
    scaled: Heat = np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
    return scaled
