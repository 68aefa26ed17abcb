"""Curves of each class against all others, as tables on a common grid, so that one file draws them all."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

Floats = NDArray[np.float64]

GRID = np.linspace(0, 1, 201)


def roc_curves(probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str]) -> pd.DataFrame:
    """Sensitivity at each rate of false alarms, one-vs-rest.

    Args:
        probabilities: (images, classes).
        labels: (images,), class indices.
        classes: names, in the order of the columns.

    Returns:
        A row a point of `GRID`: `false_positive_rate`, and a column a class; NaN for a class without images.
    """

    def sensitivity(truth: NDArray[np.bool_], score: Floats) -> Floats:
        false, found, _ = roc_curve(truth, score)
        # Where the curve rises steeply it has several values for one rate of false alarms: the highest counts.
        last = np.append(np.diff(false) > 0, True)
        return np.asarray(np.interp(GRID, false[last], found[last]), np.float64)

    return _table("false_positive_rate", probabilities, labels, classes, sensitivity)


def precision_recall_curves(probabilities: Floats, labels: NDArray[np.int64], classes: Sequence[str]) -> pd.DataFrame:
    """Precision at the highest threshold that reaches each sensitivity, one-vs-rest; not interpolated.

    Arguments are those of `roc_curves`.

    Returns:
        A row a point of `GRID` above 0: `sensitivity`, and a column a class; NaN for a class without images.
    """

    def precision(truth: NDArray[np.bool_], score: Floats) -> Floats:
        values, recall, _ = precision_recall_curve(truth, score)
        values, recall = values[:-1][::-1], recall[:-1][::-1]  # recall rises; without the point that sklearn adds
        return np.asarray(values[np.searchsorted(recall, GRID - 1e-9)])

    return _table("sensitivity", probabilities, labels, classes, precision).iloc[1:].reset_index(drop=True)


def _table(
    axis: str,
    probabilities: Floats,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    curve: Callable[[NDArray[np.bool_], Floats], Floats],
) -> pd.DataFrame:
    columns: dict[str, Floats] = {axis: GRID}
    for index, name in enumerate(classes):
        truth = labels == index
        defined = truth.any() and not truth.all()
        columns[name] = curve(truth, probabilities[:, index]) if defined else np.full(len(GRID), np.nan)
    return pd.DataFrame(columns)
