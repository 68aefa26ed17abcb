"""Heads made of one hemisphere and its mirror image.

Where a tumour lies on one side alone, the other hemisphere makes a head without one, of the same patient, source and
kind of picture: what no collection of tumours has by itself. To fill in from the other hemisphere is an old remedy
where software wants brains without lesions (Radwan et al., Virtual brain grafting, NeuroImage 2021).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.annotations import Outline
from brain_tumor.data.images import Frame, Pixels
from brain_tumor.data.masks import masks_at_model_size, widen

LEFT, RIGHT, NEITHER = 0, 1, -1
"""Sides of a picture, as they are seen."""

_MIDLINE = 0.025
"""Share of the side, to either side of the middle, that must be clear too: heads are a little turned."""

_BORDER = 0.05  # share of the side that is left out of the comparison with the mirror image
_ALIKE = 0.35
"""Least correlation with its mirror image of a picture that shows two hemispheres; from the side a head shows one."""


def tumour_sides(images: Pixels, masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """On which side of each picture the tumour lies.

    Args:
        images: (images, side, side), cropped to the head, so that its middle is theirs.
        masks: (images, side, side), True within the tumour.

    Returns:
        (images,), `LEFT` or `RIGHT`; `NEITHER` where it comes near the middle, there is none, or the picture has no
        two like hemispheres.
    """
    columns = np.asarray(widen(masks).any(axis=1))
    width = masks.shape[2]
    middle, clear = width // 2, round(_MIDLINE * width)
    left, right = columns[:, : middle + clear].any(axis=1), columns[:, middle - clear :].any(axis=1)
    sides = np.where(left == right, NEITHER, np.where(left, LEFT, RIGHT))
    return np.where(_likeness(images) > _ALIKE, sides, NEITHER)


def one_sided(
    outlines: Mapping[str, Outline], paths: Sequence[str], frames: Sequence[Frame], images: Pixels
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images whose tumour lies on one side.

    Args:
        outlines: by path, in fractions of the file's width and height.
        paths: of the images.
        frames: the place of each image in its file.
        images: (images, side, side), cropped to the head.

    Returns:
        Their rows, and for each `LEFT` or `RIGHT`.
    """
    rows, masks = masks_at_model_size(outlines, paths, frames, images.shape[1])
    sides = tumour_sides(images[rows], masks)
    return rows[sides != NEITHER], sides[sides != NEITHER]


def opposite(sides: NDArray[np.int64]) -> NDArray[np.int64]:
    """`RIGHT` for `LEFT`, and `LEFT` for `RIGHT`."""
    return np.where(sides == LEFT, RIGHT, LEFT)


def mirrored_hemispheres(images: Pixels, sides: NDArray[np.int64]) -> Pixels:
    """Heads whose hemispheres mirror each other.

    Args:
        images: (images, side, side), of an even number of columns.
        sides: (images,), the hemisphere that is kept, `LEFT` or `RIGHT`; the other becomes its mirror image.

    Returns:
        New images.
    """
    half = images.shape[2] // 2
    kept = np.where((sides == LEFT)[:, None, None], images[:, :, :half], images[:, :, : half - 1 : -1])
    return np.concatenate([kept, kept[:, :, ::-1]], axis=2)


def _likeness(images: Pixels) -> NDArray[np.float64]:
    """(images,), the correlation of each with its mirror image."""
    border = round(_BORDER * images.shape[1])
    inner = images[:, border : images.shape[1] - border, border : images.shape[2] - border].astype(np.float64)
    inner -= inner.mean(axis=(1, 2), keepdims=True)
    power = np.square(inner).sum(axis=(1, 2))
    agreement = (inner * inner[:, :, ::-1]).sum(axis=(1, 2))
    likeness: NDArray[np.float64] = np.divide(agreement, power, out=np.zeros(len(images)), where=power > 0)
    return likeness
