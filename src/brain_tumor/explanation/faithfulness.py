"""Does the place matter to the model? Deletion and insertion curves.

Source: Petsiuk et al., RISE, 2018, section 4.3. What is deleted is replaced by the blurred picture, and not by grey or
black, which would be a sharp and strange picture by itself.
"""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.heat import Heat, upsample

STEPS = 8

BLUR = 1 / 16
"""Standard deviation of the blur, as a share of the picture's side."""

GAMES = ("deletion", "insertion")

Ask = Callable[[Pixels], NDArray[np.float64]]
"""From pictures (images, size, size) to the model's probabilities (images, classes)."""


def blurred(images: Pixels) -> Pixels:
    """The pictures (images, size, size) without any detail of the size of a tumour."""
    deviation = images.shape[1] * BLUR
    return np.stack([cv2.GaussianBlur(image, (0, 0), deviation) for image in images])


def curves(
    ask: Ask, images: Pixels, baseline: Pixels, targets: NDArray[np.int64], maps: Heat, steps: int = STEPS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities while the hottest pixels are replaced by the baseline, and while they replace the baseline.

    Args:
        ask: the model.
        images: (images, size, size).
        baseline: (images, size, size), what a deleted pixel becomes.
        targets: (images,), the class whose probability is followed.
        maps: (images, height, width); the order of pixels, hottest first.
        steps: into which the pixels are cut, as equal as can be.

    Returns:
        Deletion and insertion, each (images, steps + 1), from no pixel to all. The last of one is the first of the
        other.
    """

    def score(pictures: Pixels) -> NDArray[np.float64]:
        return np.take_along_axis(ask(pictures), targets[:, None], axis=1)[:, 0]

    size = images.shape[1]
    heats = upsample(maps, size).reshape(len(images), -1)
    places = np.argsort(np.argsort(-heats, axis=1, kind="stable"), axis=1).reshape(images.shape)
    deletion, insertion = np.empty((2, len(images), steps + 1))
    deletion[:, 0] = insertion[:, -1] = score(images)
    deletion[:, -1] = insertion[:, 0] = score(baseline)
    for step in range(1, steps):
        first = places < step * size**2 / steps
        deletion[:, step] = score(np.where(first, baseline, images))
        insertion[:, step] = score(np.where(first, images, baseline))
    return deletion, insertion


def area(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area under curves (..., steps + 1) over the share of pixels from 0 to 1, by the trapezoidal rule: (...)."""
    areas: NDArray[np.float64] = np.trapezoid(curve, dx=1 / (curve.shape[-1] - 1), axis=-1)
    return areas


def deletion_insertion(
    ask: Ask, images: Pixels, targets: NDArray[np.int64], maps: Heat, rng: Generator
) -> pd.DataFrame:
    """Mean curves by the order of the maps and by a random order.

    The random order is that of random maps with as many cells, so that what is deleted has the same grain.

    Args:
        ask: the model.
        images: (images, size, size).
        targets: (images,), the class whose probability is followed.
        maps: (images, height, width).
        rng: of the random order.

    Returns:
        A row a step: the share of `pixels`, and the mean over images of `deletion`, `deletion_random`, `insertion` and
        `insertion_random`.
    """
    baseline = blurred(images)
    by_map = curves(ask, images, baseline, targets, maps)
    by_chance = curves(ask, images, baseline, targets, rng.random(maps.shape, dtype=np.float32))
    table = {"pixels": np.linspace(0, 1, STEPS + 1)}
    for game, mapped, random in zip(GAMES, by_map, by_chance, strict=True):
        table[game], table[f"{game}_random"] = mapped.mean(axis=0), random.mean(axis=0)
    return pd.DataFrame(table)


def deletion_insertion_summary(table: pd.DataFrame) -> dict[str, object]:
    """Mean areas under the curves of `deletion_insertion`: a good map has a small deletion and a large insertion."""
    return {
        game: {
            order: round(float(area(table[column].to_numpy())), 4)
            for order, column in (("model", game), ("random", f"{game}_random"))
        }
        for game in GAMES
    }
