"""How much of each cell of a picture a tumour covers: outlines as small as training needs them."""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels

SIDE = 16
"""Pixels a side of a cell, as far apart as the places of VGG16's last feature map."""

WHOLE = 254
"""Value of a cell that a tumour covers; half of it is half a cell."""

UNKNOWN = 255
"""Value of the cells of a picture with a tumour whose outline is not known."""

Coverage = NDArray[np.uint8]
"""(images, rows, columns) of cells: 0 to `WHOLE`, or `UNKNOWN` in all cells of a picture."""


def coverage(mask: Pixels) -> Coverage:
    """(size, size), 0 to 255 where a tumour is, to (size / SIDE, size / SIDE), 0 to `WHOLE`."""
    cells = len(mask) // SIDE
    return np.asarray(
        (cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA).astype(np.float32) * (WHOLE / 255)).round(),
        np.uint8,
    )


def coverage_of(masks: Mapping[int, Pixels], healthy: NDArray[np.bool_], size: int) -> Coverage:
    """The cells of pictures, of which some have an outline.

    Args:
        masks: by row, (size, size), 255 within the tumour and 0 elsewhere.
        healthy: (images,), pictures without a tumour: all their cells are 0. Others without a mask are `UNKNOWN`.
        size: pixels a side.
    """
    cells = np.full((len(healthy), size // SIDE, size // SIDE), UNKNOWN, np.uint8)
    cells[healthy] = 0
    for row, mask in masks.items():
        cells[row] = coverage(mask)
    return cells
