"""Sets of classes that hold the true class with a promised probability: split conformal prediction, by class."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brain_tumor.data.catalog import scores_and_labels

Floats = NDArray[np.float64]

COVERAGES = (0.9, 0.95)

COLUMNS = ("promised", "class", "images", "coverage", "mean_size", "single")


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
        (images, classes): those that the thresholds let in, and always the most probable. Where that is not let in, the
        image is one of the least sure of its class, and the second joins it. So no set is empty or without the answer,
        and the promise stays, because sets only grow.
    """
    values = np.asarray(probabilities, np.float64)
    sets: NDArray[np.bool_] = 1 - values <= np.asarray(thresholds, np.float64)
    rows, (first, second) = np.arange(len(values)), np.argsort(-values, axis=1, kind="stable")[:, :2].T
    sets[rows, second] |= ~sets[rows, first]
    sets[rows, first] = True
    return sets


def set_table(
    probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str], thresholds: Mapping[str, Sequence[float]]
) -> pd.DataFrame:
    """What prediction sets promise and hold, for all images and for each class.

    Args:
        probabilities: (images, classes), made like those that gave the thresholds.
        labels: (images,), class indices.
        classes: names, in the order of the columns.
        thresholds: for each promised coverage, such as `"0.9"`, the threshold of each class; may be empty.

    Returns:
        `COLUMNS`; for each promise a row `all` and a row a class: `coverage` (share of sets that hold the truth),
        `mean_size`, and `single` (share of sets of one class); NaN for a class without images.
    """
    masks = {"all": np.ones(len(labels), bool)} | {name: labels == index for index, name in enumerate(classes)}
    rows = []
    for promised, values in thresholds.items():
        sets = prediction_sets(probabilities, values)
        hits, size = sets[np.arange(len(labels)), labels], sets.sum(axis=1)
        columns = {"coverage": hits, "mean_size": size, "single": size == 1}
        means = pd.DataFrame(columns, dtype=float)
        for name, mask in masks.items():
            rows.append({"promised": float(promised), "class": name, "images": int(mask.sum()), **means[mask].mean()})
    return pd.DataFrame(rows, columns=list(COLUMNS))
