"""Outlines as masks of the pictures that a network sees."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.annotations import Outline, outline_mask
from brain_tumor.data.images import Frame

Masks = NDArray[np.bool_]


def masks_at_model_size(
    outlines: Mapping[str, Outline], paths: Sequence[str], frames: Sequence[Frame], size: int
) -> tuple[NDArray[np.int64], Masks]:
    """The outlines of images, filled, where they lie in the pictures that the network sees.

    `Reader` scales the frame that it cuts out to a square.

    Args:
        outlines: by path, in fractions of the file's width and height.
        paths: of the images.
        frames: what part of its file each image shows.
        size: pixels a side.

    Returns:
        Rows of `paths` that have an outline (annotated,), and their masks (annotated, size, size), none empty.
    """
    masks = {}
    for row, (path, frame) in enumerate(zip(paths, frames, strict=True)):
        if path in outlines:
            masks[row] = outline_mask(frame.locate(outlines[path]), size, size)
    rows = [row for row, mask in masks.items() if mask.any()]
    return np.array(rows, np.int64), np.array([masks[row] for row in rows], bool).reshape(-1, size, size)
