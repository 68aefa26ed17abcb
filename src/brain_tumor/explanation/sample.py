"""Maps of all predictions and of the chosen ones, these ready to be drawn."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brain_tumor.data.images import Pixels
from brain_tumor.explanation.heat import Heat, Maps, normalise, upsample

BATCH = 32

MapsOf = Callable[[NDArray[np.int64], NDArray[np.int64]], Maps]
"""Maps of a batch, from rows and class indices."""


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
    def correct(self) -> bool:
        """Whether the prediction is true."""
        return self.truth == self.prediction

    @property
    def targets(self) -> tuple[int, ...]:
        """Classes to explain: the predicted one, and for a wrong prediction the true one after it."""
        return (self.prediction,) if self.correct else (self.prediction, self.truth)


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
    def correct(self) -> bool:
        """Whether the prediction is true."""
        return self.prediction == self.truth


def explain_all(targets: NDArray[np.int64], maps_of: MapsOf) -> Heat:
    """Explain one class for every image.

    Args:
        targets: (images,), class indices.
        maps_of: from rows of `targets`.

    Returns:
        (images, height, width) of the explained layer, as in `Maps.values`.
    """
    batches = np.array_split(np.arange(len(targets)), -(-len(targets) // BATCH))
    return np.concatenate([maps_of(rows, targets[rows]).values for rows in batches])


def fixed_sample(paths: Sequence[str], size: int) -> NDArray[np.int64]:
    """Rows of at most `size` images, in order; by the digest of the path, so that they stay whatever the model says."""
    order = sorted(range(len(paths)), key=lambda row: hashlib.sha256(paths[row].encode()).digest())
    return np.array(sorted(order[:size]), np.int64)


def explain(
    choices: Sequence[Choice],
    images: Pixels,
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    maps_of: MapsOf,
) -> list[Explanation]:
    """Explain the classes of interest of each chosen prediction.

    Args:
        choices: whose `row` counts in `images` and `probabilities`.
        images: (images, size, size), grey values.
        probabilities: (images, classes).
        classes: names, in the order of the columns.
        maps_of: from rows of `images`.

    Returns:
        One for each choice, in order; its heat maps have the size of the image.
    """
    wanted = np.array([(choice.row, target) for choice in choices for target in choice.targets])
    panels = []
    for batch in np.array_split(wanted, -(-len(wanted) // BATCH)):
        maps = maps_of(batch[:, 0], batch[:, 1])
        heats = normalise(upsample(maps.values, images.shape[1]))
        for (row, target), heat, maximum in zip(batch, heats, maps.maxima, strict=True):
            panels.append(Panel(classes[target], float(probabilities[row, target]), heat, float(maximum)))
    remaining = iter(panels)
    return [
        Explanation(
            name=choice.name,
            image=images[choice.row],
            truth=classes[choice.truth],
            panels=tuple(next(remaining) for _ in choice.targets),
        )
        for choice in choices
    ]


def maps_summary(maps: Heat, right: NDArray[np.bool_]) -> dict[str, object]:
    """How strong the maps of the predicted classes are.

    Args:
        maps: (images, height, width), not scaled.
        right: (images,), whether the prediction is true.

    Returns:
        For right and wrong predictions: `images`, `flat_maps` (no place speaks for the class) and `mean_maximum`, the
        mean over images of the map's largest value; None without images.
    """
    maxima = maps.max(axis=(1, 2))
    parts: dict[str, object] = {}
    for name, chosen in (("right", maxima[right]), ("wrong", maxima[~right])):
        parts[name] = {
            "images": len(chosen),
            "flat_maps": int((chosen == 0).sum()),
            "mean_maximum": round(float(chosen.mean()), 4) if len(chosen) else None,
        }
    return parts


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
