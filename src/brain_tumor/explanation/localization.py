"""Is the map at the tumour, and on the head at all? Scores of maps against outlines, with two baselines."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels, head_mask
from brain_tumor.data.masks import Masks
from brain_tumor.explanation.heat import Heat, upsample

SCORES = ("pointing", "mass", "iou")

TABLE_COLUMNS = ("name", "class", "prediction", "map", "images", *SCORES)
"""Columns of `plots/localization.csv`; `name` is class, prediction and map together, for the axis of a plot."""

ALL = "all"


def localize(maps: Heat, masks: Masks, tolerance: float) -> pd.DataFrame:
    """Score each map against its mask.

    - `pointing`: 1 if the map's maximum lies in the mask or at most `tolerance` from it, else 0; of several maxima, the
      share that does. Source: Zhang et al., Top-down Neural Attention by Excitation Backprop, 2018, section 4.1.
    - `mass`: share of the map's sum that lies in the mask.
    - `iou`: intersection over union of the mask and the hottest area of the mask's size.

    A map of zeros points nowhere and scores 0.

    Args:
        maps: (images, height, width), at least 0; scaled to the masks' size.
        masks: (images, size, size), none empty.
        tolerance: pixels of the mask.

    Returns:
        A row an image with the columns `SCORES`, each from 0 to 1.

    Raises:
        ValueError: lengths that do not agree, or an empty mask.
    """
    if len(maps) != len(masks) or not masks.any(axis=(1, 2)).all():
        raise ValueError(f"{len(maps)} maps, {len(masks)} masks: one mask a map is needed, none empty")
    rows = []
    for heat, mask in zip(maps, masks, strict=True):
        scaled = upsample(heat[None], mask.shape[0])[0]
        rows.append((_pointing(scaled, mask, tolerance), mass_inside(scaled, mask), _hottest_iou(scaled, mask)))
    return pd.DataFrame(rows, columns=list(SCORES), dtype=float)


def mass_inside(heat: Heat, mask: Masks) -> float:
    """Share of a map's sum within a mask of the same shape, 0 to 1; 0 for a map of zeros."""
    total = heat.sum(dtype=np.float64)
    return float(heat[mask].sum(dtype=np.float64) / total) if total > 0 else 0.0


def centred_blob(size: int) -> Heat:
    """A Gaussian in the middle of the picture, its standard deviation a sixth of the side: what needs no network."""
    places = np.arange(size) - (size - 1) / 2
    profile = np.exp(-((places / (size / 6)) ** 2) / 2)
    return np.outer(profile, profile).astype(np.float32)


def shuffled(maps: Heat, rng: Generator) -> Heat:
    """Each image gets the map of another one.

    Maps are exchanged whole and not cut up, so that all they have in common stays: how sharp they are, and that they
    prefer the middle of the head. What is lost is only that a map belongs to its image.
    """
    order = rng.permutation(len(maps))
    exchanged = np.empty_like(maps)
    exchanged[order] = maps[np.roll(order, 1)]
    return exchanged


def localization_table(
    maps: Heat, masks: Masks, labels: Sequence[str], correct: NDArray[np.bool_], seed: int
) -> pd.DataFrame:
    """Mean scores of the model's maps and of two baselines, by class, correct and wrong predictions apart.

    Half a cell of the map is the pointing game's tolerance: no place is known better.

    Args:
        maps: (images, height, width) of the explained layer.
        masks: (images, size, size), none empty.
        labels: true class of each image.
        correct: (images,), whether the prediction is true.
        seed: of the exchange of maps between images.

    Returns:
        `TABLE_COLUMNS`; `map` is `model`, `centred` (see `centred_blob`) or, where there are several images, `shuffled`
        (see `shuffled`); all classes together come first, under `ALL`; no row for what has no images, so that without
        images the table is empty.
    """
    size = masks.shape[1]
    kinds = {"model": maps, "centred": np.broadcast_to(centred_blob(size), masks.shape)}
    if len(maps) > 1:
        kinds["shuffled"] = shuffled(maps, np.random.default_rng(seed))
    parts = []
    for kind, values in kinds.items():
        scores = localize(values, masks, tolerance=size / maps.shape[1] / 2)
        scores = scores.assign(map=kind, prediction=np.where(correct, "correct", "wrong"), images=1)
        parts += [scores.assign(**{"class": ALL}), scores.assign(**{"class": list(labels)})]
    how = {"images": "sum"} | dict.fromkeys(SCORES, "mean")
    table = pd.concat(parts).groupby(["class", "prediction", "map"], sort=False, as_index=False).agg(how)
    table["name"] = table["class"] + ", " + table["prediction"] + ", " + table["map"]
    order = {name: place for place, name in enumerate((ALL, *sorted(set(labels)), "correct", "wrong"))}
    table = table.sort_values(["class", "prediction"], key=lambda names: names.map(order), kind="stable")
    return table[list(TABLE_COLUMNS)].reset_index(drop=True)


def headline(outside: float | None, table: pd.DataFrame) -> dict[str, Any]:
    """The few numbers of `metrics/explain.json`.

    Args:
        outside: `mass` of `outside_head`.
        table: of `localization_table`.

    Returns:
        `outside_head`; and where correct predictions have an outline `pointing` and `iou` of the model, and the same
        two below `centred` for the centred blob and below each class.
    """
    values: dict[str, Any] = {"outside_head": outside}
    for row in table[table["prediction"] == "correct"].round(4).to_dict("records"):
        scores = {"pointing": row["pointing"], "iou": row["iou"]}
        match row["class"], row["map"]:
            case "all", "model":
                values |= scores
            case "all", "centred":
                values["centred"] = scores
            case name, "model":
                values[name] = scores
    return values


def outside_head(maps: Heat, images: Pixels) -> dict[str, float | None]:
    """What part of the maps lies where no brain is.

    Args:
        maps: (images, height, width), at least 0.
        images: (images, size, size).

    Returns:
        `mass`, the mean share of a map's sum outside `head_mask`, over maps that are not zero, None where all are; and
        `area`, the mean share of the picture there, which is what a map without any preference has.
    """
    masses, areas = [], []
    for heat, image in zip(maps, images, strict=True):
        head = cv2.resize(head_mask(image), image.shape[::-1], interpolation=cv2.INTER_NEAREST)
        outside = head == 0
        areas.append(outside.mean())
        if heat.any():
            masses.append(mass_inside(upsample(heat[None], len(image))[0], outside))
    return {"mass": round(float(np.mean(masses)), 4) if masses else None, "area": round(float(np.mean(areas)), 4)}


def _pointing(heat: Heat, mask: Masks, tolerance: float) -> float:
    if not heat.any():
        return 0.0
    distances = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distances[heat == heat.max()] <= tolerance).mean())


def _hottest_iou(heat: Heat, mask: Masks) -> float:
    area = int(mask.sum())
    hottest = np.zeros(heat.size, bool)
    hottest[np.argsort(-heat, axis=None, kind="stable")[:area]] = True
    hottest &= heat.ravel() > 0
    inside = mask.ravel()
    return float((hottest & inside).sum() / (hottest | inside).sum())
