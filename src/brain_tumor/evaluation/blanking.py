"""Pictures without their tumour: a classifier that has found it must change its mind."""

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels

MARGIN = 0.02
"""How far beyond its outline a tumour is taken out, as a share of the side: outlines run along the inside of rims."""

_RADIUS = 5  # pixels around a place that decide its new grey


def blank_out(images: Pixels, masks: NDArray[np.bool_]) -> Pixels:
    """Fill what the masks cover with a continuation of its surroundings.

    Args:
        images: (images, height, width).
        masks: (images, height, width), True where something is to vanish; they are widened by `MARGIN`.

    Returns:
        New images; those with an empty mask are unchanged.

    Source: Telea, An image inpainting technique based on the fast marching method, 2004.
    """
    filled = np.array(images)
    for row, mask in enumerate(widen(masks)):
        if mask.any():
            filled[row] = cv2.inpaint(filled[row], mask.astype(np.uint8), _RADIUS, cv2.INPAINT_TELEA)
    return filled


def elsewhere(masks: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The same shapes on the other side of the picture: blanking there shows what blanking alone does.

    Args:
        masks: (images, height, width).

    Returns:
        The mirrored masks, and (images,) whether the mirrored mask keeps clear of the place itself; a tumour in the
        middle has no other side.
    """
    mirrored = masks[:, :, ::-1]
    free = ~(widen(masks) & widen(mirrored))
    return mirrored, np.asarray(free.all(axis=(1, 2)))


def widen(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The masks, larger by `MARGIN` all around."""
    reach = max(1, round(MARGIN * masks.shape[-1]))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return np.array([cv2.dilate(mask.astype(np.uint8), disc) > 0 for mask in masks], bool).reshape(masks.shape)
