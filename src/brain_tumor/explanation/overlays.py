"""Which predictions are drawn, and a heat map laid over its image."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from brain_tumor.data.images import Pixels

STRENGTH = 0.75
"""Opacity of the hottest place; a cold one is transparent, so the anatomy stays visible."""


@dataclass(frozen=True)
class Choice:
    """A prediction that is drawn.

    Attributes:
        row: of the set that was chosen from.
        truth: class index.
        prediction: class index.
        number: 1, 2, … among the right or the wrong ones of the true class.
        name: file name without folder, such as `glioma_right_1.png`.
    """

    row: int
    truth: int
    prediction: int
    number: int
    name: str

    @property
    def right(self) -> bool:
        """Whether the prediction is true."""
        return self.truth == self.prediction

    @property
    def targets(self) -> tuple[int, ...]:
        """Classes to explain: the predicted one, and for a wrong prediction the true one after it."""
        return (self.prediction,) if self.right else (self.prediction, self.truth)


@dataclass(frozen=True)
class Panel:
    """One explained class.

    Attributes:
        explained: name of the class.
        probability: that the model gives it, 0 to 1.
        heat: (height, width) of the image, 0 to 1.
        maximum: of the map before scaling, in logits; 0 for a map of zeros.
    """

    explained: str
    probability: float
    heat: NDArray[np.float32]
    maximum: float


@dataclass(frozen=True)
class Explanation:
    """An image with the maps of its explained classes.

    Attributes:
        name: file name, as in `Choice`.
        image: (height, width), grey.
        truth: name of the true class.
        panels: the first one explains the prediction.
    """

    name: str
    image: Pixels
    truth: str
    panels: tuple[Panel, ...]

    @property
    def prediction(self) -> str:
        """Name of the predicted class."""
        return self.panels[0].explained

    @property
    def right(self) -> bool:
        """Whether the prediction is true."""
        return self.prediction == self.truth


def choose(
    paths: Sequence[str], labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str], images_per_class: int
) -> list[Choice]:
    """Choose for each class so many right and as many wrong predictions, or all where there are fewer.

    By the digest of the path and not by score, so the sample is neither the best nor the worst, and an image keeps
    its place as long as predictions stay.

    Args:
        paths: of the images, without repetition.
        labels: (images,), class indices.
        predictions: (images,), class indices.
        classes: names, in the order of the indices.
        images_per_class: at least 1.

    Returns:
        By class, right before wrong, by number.

    Raises:
        ValueError: lengths that do not agree, or a path named twice.
    """
    truth, called = np.asarray(labels), np.asarray(predictions)
    if not len(paths) == len(truth) == len(called) or len(set(paths)) != len(paths):
        raise ValueError(f"{len(set(paths))} paths, {len(truth)} labels, {len(called)} predictions")
    order = sorted(range(len(paths)), key=lambda row: hashlib.sha256(paths[row].encode()).digest())
    return list(_chosen(order, truth, called, classes, images_per_class))


def blend(image: Pixels, heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a heat map over a grey image.

    Args:
        image: (height, width).
        heat: (height, width), 0 to 1. Colour (viridis) and opacity both grow with it.

    Returns:
        (height, width, 3), RGB.
    """
    grey = image[..., None].astype(np.float32) / 255  # (height, width, 1)
    colour = matplotlib.colormaps["viridis"](heat)[..., :3]
    opacity = STRENGTH * heat[..., None]
    mixed: NDArray[np.float64] = (1 - opacity) * grey + opacity * colour
    return (mixed * 255).round().astype(np.uint8)


def _chosen(
    order: Sequence[int],
    truth: NDArray[np.int64],
    called: NDArray[np.int64],
    classes: Sequence[str],
    images_per_class: int,
) -> Iterator[Choice]:
    for label, name in enumerate(classes):
        for word, right in (("right", True), ("wrong", False)):
            rows = [row for row in order if truth[row] == label and (called[row] == label) == right]
            for number, row in enumerate(rows[:images_per_class], start=1):
                yield Choice(row, label, int(called[row]), number, f"{name}_{word}_{number}.png")
