"""Maps of all predictions and of the chosen ones, these ready to be drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brain_tumor.data.arrays import batches
from brain_tumor.data.catalog import digest_order
from brain_tumor.data.images import Pixels
from brain_tumor.explanation.heat import Heat, normalise, upsample

MapsOf = Callable[[NDArray[np.int64], NDArray[np.int64]], Heat]
"""From rows and class indices, (images,) each, to maps (images, height, width) of the explained layer, not scaled."""


@dataclass(frozen=True)
class Panel:
    """One explained class.

    Attributes:
        explained: name of the class.
        probability: that the model gives it, 0 to 1.
        heat: (height, width) of the image, 0 to 1.
        maximum: of the map before scaling, in logits, because scaling hides that a map is weak; 0 for a map of zeros.
    """

    explained: str
    probability: float
    heat: Heat
    maximum: float


@dataclass(frozen=True)
class Explanation:
    """An image with the maps of its explained classes.

    Attributes:
        name: file name without folder, such as `glioma_correct_1.png`.
        image: (height, width), grey.
        truth: name of the true class.
        panels: the predicted class, and after a wrong prediction the true one.
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


def fixed_sample(paths: Sequence[str], size: int) -> NDArray[np.int64]:
    """Rows of at most `size` images, in order; by the digest of the path, so that they stay whatever the model says."""
    return np.array(sorted(digest_order(paths)[:size]), np.int64)


def choose(
    paths: Sequence[str], labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str], images_per_class: int
) -> dict[str, int]:
    """Choose for each class so many correct and as many wrong predictions, or all where there are fewer.

    By the digest of the path and not by score, so the sample is neither the best nor the worst, and an image keeps
    its place as long as predictions stay.

    Args:
        paths: of the images, without repetition.
        labels: (images,), class indices.
        predictions: (images,), class indices.
        classes: names, in the order of the indices.
        images_per_class: at least 1.

    Returns:
        For each file name, such as `glioma_wrong_2.png`, the row; by true class, correct before wrong, by number.

    Raises:
        ValueError: lengths that do not agree, or a path named twice.
    """
    truth, predicted = np.asarray(labels), np.asarray(predictions)
    if not len(paths) == len(truth) == len(predicted) or len(set(paths)) != len(paths):
        raise ValueError(f"{len(set(paths))} paths, {len(truth)} labels, {len(predicted)} predictions")
    order, chosen = digest_order(paths), dict[str, int]()
    for label, name in enumerate(classes):
        for word, correct in (("correct", True), ("wrong", False)):
            rows = [row for row in order if truth[row] == label and (predicted[row] == label) == correct]
            chosen |= {
                f"{name}_{word}_{number}.png": row for number, row in enumerate(rows[:images_per_class], start=1)
            }
    return chosen


def explain(
    chosen: Mapping[str, int],
    images: Pixels,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    maps_of: MapsOf,
) -> list[Explanation]:
    """Explain for each chosen image the predicted class, and the true one where that is another.

    Args:
        chosen: rows of all that follows by file name, as of `choose`; at least one.
        images: (images, size, size), grey values.
        labels: (images,), class indices.
        probabilities: (images, classes).
        classes: names, in the order of the columns.
        maps_of: from rows of `images`.

    Returns:
        One for each chosen image, in order; its heat maps have the size of the image.
    """
    predicted = probabilities.argmax(axis=1)
    wanted = [(row, target) for row in chosen.values() for target in dict.fromkeys((predicted[row], labels[row]))]
    rows, targets = np.array(wanted).T
    maps = np.concatenate([maps_of(rows[batch], targets[batch]) for batch in batches(len(rows))])
    heats = normalise(upsample(maps, images.shape[1]))
    panels: dict[int, list[Panel]] = {row: [] for row in rows}
    for row, target, heat, values in zip(rows, targets, heats, maps, strict=True):
        panels[row].append(Panel(classes[target], float(probabilities[row, target]), heat, float(values.max())))
    return [Explanation(name, images[row], classes[labels[row]], tuple(panels[row])) for name, row in chosen.items()]


def maps_summary(maps: Heat, correct: NDArray[np.bool_]) -> dict[str, object]:
    """How strong the maps of the predicted classes are.

    Args:
        maps: (images, height, width), not scaled.
        correct: (images,), whether the prediction is true.

    Returns:
        For correct and wrong predictions: `images`, `flat_maps` (no place speaks for the class) and `mean_maximum`, the
        mean over images of the map's largest value; None without images.
    """
    maxima = maps.max(axis=(1, 2))
    return {
        name: {
            "images": len(chosen),
            "flat_maps": int((chosen == 0).sum()),
            "mean_maximum": round(float(chosen.mean()), 4) if len(chosen) else None,
        }
        for name, chosen in (("correct", maxima[correct]), ("wrong", maxima[~correct]))
    }
