"""Sets of classes that hold the truth with a promised probability: split conformal prediction, by class."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brain_tumor.data.catalog import scores_and_labels

Floats = NDArray[np.float64]

COVERAGES = (0.9, 0.95)


def class_thresholds(probabilities: ArrayLike, labels: ArrayLike, coverage: float) -> Floats:
    """For each class how improbable it may be and still be in the set.

    The score of an image is 1 minus the probability of its true class; the threshold of a class is the
    ⌈(n + 1) · coverage⌉-th smallest score of its n images. A new image of that class, exchangeable with them, is
    covered with at least that probability, whatever the classifier is. By class, because one threshold for all would
    cover easy classes too often and hard ones too seldom.

    Args:
        probabilities: (images, classes) of images that did not train the classifier; calibrated or not.
        labels: (images,), class indices.
        coverage: the promise, above 0 and below 1.

    Returns:
        (classes,), 0 to 1; 1 for a class with too few images to promise anything (n + 1 < 1 / (1 - coverage)), so
        that it is in every set.

    Raises:
        ValueError: as `scores_and_labels`, or a coverage out of range.

    Source: Vovk, Conditional validity of inductive conformal predictors, 2012; Sadinle et al., Least ambiguous
    set-valued classifiers with bounded error levels, 2019.
    """
    values, truth = scores_and_labels(probabilities, labels)
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage of {coverage}: expected above 0 and below 1")
    thresholds = np.ones(values.shape[1])
    for index in range(values.shape[1]):
        scores = np.sort(1 - values[truth == index, index])
        rank = int(np.ceil(np.round((len(scores) + 1) * coverage, 9)))  # 20 * 0.95 is a hair above 19
        if rank <= len(scores):
            thresholds[index] = scores[rank - 1]
    return thresholds


def prediction_sets(probabilities: ArrayLike, thresholds: ArrayLike) -> NDArray[np.bool_]:
    """The classes that are in the set of each image.

    Args:
        probabilities: (images, classes), made like those that gave the thresholds.
        thresholds: (classes,), as `class_thresholds` gives them.

    Returns:
        (images, classes). A set can be empty: the picture is unlike those of any class.
    """
    sets: NDArray[np.bool_] = 1 - np.asarray(probabilities, np.float64) <= np.asarray(thresholds, np.float64)
    return sets


def set_sizes(sets: NDArray[np.bool_], labels: NDArray[np.int64], classes: Sequence[str]) -> pd.DataFrame:
    """What sets promise and hold, for each class and for all.

    Args:
        sets: (images, classes).
        labels: (images,), class indices.
        classes: names, in the order of the columns.

    Returns:
        A row a class, then `all`: `class`, `images`, `coverage` (share of sets that hold the truth), `mean_size`,
        `single` (share of sets of one class) and `empty` (of none); NaN for a class without images.
    """
    size = sets.sum(axis=1)
    table = pd.DataFrame(
        {"coverage": sets[np.arange(len(labels)), labels], "mean_size": size, "single": size == 1, "empty": size == 0}
    ).astype(float)
    rows = [("all", np.ones(len(labels), bool)), *((name, labels == index) for index, name in enumerate(classes))]
    return pd.DataFrame([{"class": name, "images": int(mask.sum()), **table[mask].mean()} for name, mask in rows])
