"""Curves of each class against all others, as tables on a common grid, so that one file draws them all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

Floats = NDArray[np.float64]

GRID = np.linspace(0, 1, 201)


def ranking_tables(
    probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """ROC and precision-recall curves, one-vs-rest.

    Args:
        probabilities: (images, classes).
        labels: (images,), class indices.
        classes: names, in the order of the columns.

    Returns:
        The sensitivity of each class at each `false_positive_rate` of `GRID`, and its precision at the highest
        threshold that reaches each `sensitivity` of `GRID` above 0, not interpolated: a row a point, a column a class;
        NaN for a class without images.
    """
    roc, precision_recall = {"false_positive_rate": GRID}, {"sensitivity": GRID[1:]}
    for index, name in enumerate(classes):
        truth, score = labels == index, probabilities[:, index]
        defined = truth.any() and not truth.all()
        roc[name] = _sensitivity(truth, score) if defined else np.full(len(GRID), np.nan)
        precision_recall[name] = _precision(truth, score) if defined else np.full(len(GRID) - 1, np.nan)
    return pd.DataFrame(roc), pd.DataFrame(precision_recall)


def _sensitivity(truth: NDArray[np.bool_], score: Floats) -> Floats:
    false, found, _ = roc_curve(truth, score)
    # Where the curve rises steeply it has several values for one rate of false alarms: the highest counts.
    last = np.append(np.diff(false) > 0, True)
    return np.asarray(np.interp(GRID, false[last], found[last]), np.float64)


def _precision(truth: NDArray[np.bool_], score: Floats) -> Floats:
    values, recall, _ = precision_recall_curve(truth, score)
    values, recall = values[:-1][::-1], recall[:-1][::-1]  # recall rises; without the point that sklearn adds
    return np.asarray(values[np.searchsorted(recall, GRID[1:] - 1e-9)])
