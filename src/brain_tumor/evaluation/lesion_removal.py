"""Pictures without their tumour: a classifier that has found it must change its mind."""

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.hemispheres import NEITHER, mirrored_hemispheres, opposite, tumour_sides
from brain_tumor.data.images import Pixels
from brain_tumor.data.masks import Masks, widen

_RADIUS = 5  # pixels around a place that decide its new grey


def lesion_removed_images(images: Pixels, masks: Masks) -> dict[str, tuple[NDArray[np.bool_], Pixels]]:
    """Pictures without their tumour, and for comparison without something else of that size.

    Args:
        images: (images, side, side), each with a tumour.
        masks: (images, side, side), True within the tumour.

    Returns:
        By what was taken out: (images,), of which pictures that can be done, and these pictures without it.
    """
    mirrored, clear = elsewhere(masks)
    sides = tumour_sides(images, masks)
    halved = sides != NEITHER
    two_sided, tumour_side = images[halved], sides[halved]
    return {
        "the tumour": (np.ones(len(images), bool), inpaint(images, masks)),
        "the same place on the other side": (clear, inpaint(images[clear], mirrored[clear])),
        "the half with it": (halved, mirrored_hemispheres(two_sided, opposite(tumour_side))),
        "the other half": (halved, mirrored_hemispheres(two_sided, tumour_side)),
    }


def inpaint(images: Pixels, masks: Masks) -> Pixels:
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


def elsewhere(masks: Masks) -> tuple[Masks, NDArray[np.bool_]]:
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
