"""Images without their lesion: a classifier that has found it must change its mind."""

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.annotations import Outline
from brain_tumor.data.arrays import SplitArrays
from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.data.hemispheres import NEITHER, mirrored_hemispheres, opposite, tumour_sides
from brain_tumor.data.images import Pixels
from brain_tumor.data.masks import Masks, masks_at_model_size, widen
from brain_tumor.evaluation.tables import Floats, Predictions, share

COLUMNS = (
    *("lesion_removed", "class", "images", "groups"),
    *("kept", "kept_low", "kept_high", "healthy", "healthy_low", "healthy_high", "drop"),
)

_RADIUS = 5  # pixels around a place that decide its new grey


def lesion_removal_table(
    outlines: Mapping[str, Outline], test: SplitArrays, predictions: Predictions, ask: Callable[[Pixels], Floats]
) -> pd.DataFrame:
    """What becomes of correct predictions of tumours when the tumour is taken out of the image.

    Args:
        outlines: by path.
        test: the test images.
        predictions: of them.
        ask: from images at model size to probabilities (images, classes).

    Returns:
        `COLUMNS`; for each kind of `lesion_removed_images` a row a class with images, then one for all: `kept` (share
        whose prediction stays) and `healthy` (share then predicted as healthy), with intervals, and `drop` (mean fall
        of the probability of the true class). No rows without outlines of correctly predicted tumours.
    """
    rows, masks = masks_at_model_size(outlines, test.index["path"].tolist(), test.frames, test.images.shape[1])
    found = predictions.correct[rows] & (predictions.labels[rows] != HEALTHY_INDEX)
    chosen, masks = rows[found], masks[found]
    before = predictions.subset(np.isin(np.arange(len(test)), chosen))
    table = [
        row
        for name, (those, changed) in lesion_removed_images(test.images[chosen], masks).items()
        if those.any()
        for row in _rows(name, before.subset(those), ask(changed))
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def lesion_removed_images(images: Pixels, masks: Masks) -> dict[str, tuple[NDArray[np.bool_], Pixels]]:
    """Images without their tumour, and for comparison without something else of that size.

    Args:
        images: (images, side, side), each with a tumour.
        masks: (images, side, side), True within the tumour.

    Returns:
        By what was taken out: (images,), whether it can be done, and those images without it.
    """
    mirrored, clear = elsewhere(masks)
    sides = tumour_sides(images, masks)
    one_sided = sides != NEITHER
    heads, tumour_side = images[one_sided], sides[one_sided]
    return {
        "the tumour": (np.ones(len(images), bool), inpaint(images, masks)),
        "the same place on the other side": (clear, inpaint(images[clear], mirrored[clear])),
        "the hemisphere with it": (one_sided, mirrored_hemispheres(heads, opposite(tumour_side))),
        "the other hemisphere": (one_sided, mirrored_hemispheres(heads, tumour_side)),
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
    """The same shapes on the other side of the picture: filling there shows what filling alone does.

    Args:
        masks: (images, height, width).

    Returns:
        The mirrored masks, and (images,) whether the mirrored mask keeps clear of the place itself; a tumour in the
        middle has no other side.
    """
    mirrored = masks[:, :, ::-1]
    free = ~(widen(masks) & widen(mirrored))
    return mirrored, np.asarray(free.all(axis=(1, 2)))


def _rows(name: str, before: Predictions, after: Floats) -> list[dict[str, Any]]:
    predicted, own = after.argmax(axis=1), (np.arange(len(after)), before.labels)
    drop = before.probabilities[own] - after[own]
    masks = {label: before.labels == index for index, label in enumerate(before.classes)}
    rows: list[dict[str, Any]] = []
    for label, mask in (masks | {"all": np.ones(len(after), bool)}).items():
        if mask.any():
            subset = before.subset(mask)
            row: dict[str, Any] = {"lesion_removed": name, "class": label, **subset.sizes}
            for word, hits in (("kept", predicted == before.labels), ("healthy", predicted == HEALTHY_INDEX)):
                row |= zip((word, f"{word}_low", f"{word}_high"), share(hits[mask], subset), strict=True)
            rows.append(row | {"drop": drop[mask].mean()})
    return rows
