"""Outlines as masks of the pictures that a network sees."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.annotations import Outline, outline_mask
from brain_tumor.data.images import Frame

Masks = NDArray[np.bool_]

MARGIN = 0.02
"""How far beyond its outline a tumour is taken out, as a share of the side: outlines run along the inside of rims."""


def masks_at_model_size(
    outlines: Mapping[str, Outline], paths: Sequence[str], frames: Sequence[Frame], size: int
) -> tuple[NDArray[np.int64], Masks]:
    """The outlines of images, filled, where they lie in the pictures that the network sees.

    `Reader` scales the frame that it cuts out to a square.

    Args:
        outlines: by path, in fractions of the file's width and height.
        paths: of the images.
        frames: the place of each image in its file.
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


def widen(masks: Masks) -> Masks:
    """The masks, larger by `MARGIN` all around."""
    reach = max(1, round(MARGIN * masks.shape[-1]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.array([cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in masks], bool).reshape(masks.shape)
