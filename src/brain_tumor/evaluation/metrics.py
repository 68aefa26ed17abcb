"""How well predictions agree with the truth: every score at once, for many weightings of the images at a time.

A bootstrap sample is nothing but a weight for each image (how often it was drawn), so one function serves for the
scores themselves (every weight 1) and for their intervals (`intervals.bootstrap`). A score that has no denominator,
such as the sensitivity for a class that is not in the set, is NaN, never 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import classification_report, confusion_matrix

from brain_tumor.data.catalog import scores_and_labels

Floats = NDArray[np.float64]

OVERALL = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "log_loss", "brier")
"""Scores of the whole set; the last two are better the lower they are."""

BY_CLASS = ("sensitivity", "specificity", "precision", "f1", "auroc", "average_precision")
"""Scores of each class against all others."""

_SMALLEST = np.finfo(np.float64).eps  # log loss of a probability of 0 would be infinite; scikit-learn clips alike


def overall_scores(probabilities: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Scores of the whole set, in the order of `OVERALL`.

    The predicted class is that of the largest probability, of equal ones the first. Means over classes (balanced
    accuracy of the sensitivities, macro F1, AUROC one-vs-rest) leave out classes for which the score is undefined.
    `log_loss` is in nats, `brier` the mean over images of the squared distance between probabilities and truth, summed
    over classes (Brier 1950, 0 to 2).

    Args:
        probabilities: (images, classes), each row sums to 1.
        labels: (images,), class indices.
        weights: (samples, images), not negative; None for one sample in which every image counts once.

    Returns:
        (samples, scores); NaN where undefined.

    Raises:
        ValueError: as `scores_and_labels`, or rows that are no probabilities.
    """
    values, truth, weight = _checked(probabilities, labels, weights)
    counts = _weighted_confusion(values, truth, weight)
    total = weight.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity, _, _, f1 = _ratios(counts)
        own = values[np.arange(len(truth)), truth]
        return np.stack(
            [
                np.trace(counts, axis1=1, axis2=2) / total,
                _mean_of_defined(sensitivity),
                _mean_of_defined(f1),
                _mean_of_defined(_rankings(values, truth, weight)[0]),
                weight @ -np.log(np.maximum(own, _SMALLEST)) / total,
                weight @ ((values - np.eye(values.shape[1])[truth]) ** 2).sum(axis=1) / total,
            ],
            axis=1,
        )


def class_scores(probabilities: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Scores of each class against all others, in the order of `BY_CLASS`.

    AUROC and average precision use the probability of the class as the score; images with equal probability share
    their rank, and average precision is not interpolated, as in scikit-learn.

    Arguments and errors are those of `overall_scores`.

    Returns:
        (samples, classes, scores); NaN where undefined: sensitivity, AUROC and average precision of a class that is
        not in the sample, precision of one that is never predicted, F1 of one that is neither.
    """
    values, truth, weight = _checked(probabilities, labels, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = _ratios(_weighted_confusion(values, truth, weight))
        return np.stack([*ratios, *_rankings(values, truth, weight)], axis=2)


def confusion(probabilities: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    """Count the images of each true class (row) by their predicted class (column).

    Arguments and errors are those of `overall_scores`.
    """
    values, truth, _ = _checked(probabilities, labels, None)
    counts: NDArray[np.int64] = confusion_matrix(truth, values.argmax(axis=1), labels=np.arange(values.shape[1]))
    return counts


def classification_text(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> str:
    """scikit-learn's classification report; an undefined ratio reads `nan`.

    Args:
        probabilities: as for `overall_scores`.
        labels: as for `overall_scores`.
        classes: names, in the order of the columns.
    """
    return str(_report(probabilities, labels, classes, digits=4))


def classification_table(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> pd.DataFrame:
    """scikit-learn's classification report as a table.

    Arguments and errors are those of `classification_text`.

    Returns:
        A row a class, then their mean (`macro avg`) and their mean by images (`weighted avg`): `class`, `precision`,
        `recall`, `f1` and `images`; NaN where undefined, which the means leave out.
    """
    rows = _report(probabilities, labels, classes, output_dict=True)
    table = pd.DataFrame.from_dict({name: rows[name] for name in (*classes, "macro avg", "weighted avg")}, "index")
    table = table.rename(columns={"f1-score": "f1", "support": "images"}).astype({"images": int})
    return table.rename_axis("class").reset_index()


def _report(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str], **options: Any) -> Any:
    values, truth, _ = _checked(probabilities, labels, None)
    numbers = np.arange(len(classes))
    predicted = values.argmax(axis=1)
    return classification_report(
        truth, predicted, labels=numbers, target_names=list(classes), zero_division=np.nan, **options
    )


def _checked(
    probabilities: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, NDArray[np.int64], Floats]:
    values, truth = scores_and_labels(probabilities, labels)
    if not (np.all(values >= 0) and np.allclose(values.sum(axis=1), 1, rtol=0, atol=1e-3)):
        raise ValueError("every row of probabilities must be non-negative and sum to 1")
    weight = np.ones((1, len(truth))) if weights is None else np.asarray(weights, np.float64)
    if weight.ndim != 2 or weight.shape[1] != len(truth) or not np.all(weight >= 0):
        raise ValueError(f"weights {weight.shape}: expected (samples, {len(truth)}), none negative")
    return values, truth, weight


def _weighted_confusion(values: Floats, truth: NDArray[np.int64], weight: Floats) -> Floats:
    """(samples, classes, classes): weight of the images by true and by predicted class."""
    classes = values.shape[1]
    cells = np.eye(classes**2)[truth * classes + values.argmax(axis=1)]  # images, cells
    counts: Floats = (weight @ cells).reshape(len(weight), classes, classes)
    return counts


def _ratios(counts: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Sensitivity, specificity, precision and F1, (samples, classes) each."""
    correct, actual, predicted = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)
    others = counts.sum(axis=(1, 2))[:, None] - actual
    spared = others - predicted + correct
    return correct / actual, spared / others, correct / predicted, 2 * correct / (actual + predicted)


def _rankings(values: Floats, truth: NDArray[np.int64], weight: Floats) -> tuple[Floats, Floats]:
    """One-vs-rest AUROC and average precision, (samples, classes) each."""
    pairs = [_ranking(values[:, index], truth == index, weight) for index in range(values.shape[1])]
    auroc, precision = zip(*pairs, strict=True)
    return np.stack(auroc, axis=1), np.stack(precision, axis=1)


def _ranking(score: Floats, positive: NDArray[np.bool_], weight: Floats) -> tuple[Floats, Floats]:
    """AUROC and average precision of one score, (samples,) each; images of equal score are one step of the curve."""
    order = np.argsort(-score, kind="stable")
    steps = np.flatnonzero(np.diff(score[order], prepend=np.inf))  # where a new value of the score begins
    found = np.add.reduceat(weight[:, order] * positive[order], steps, axis=1)  # samples, steps
    false = np.add.reduceat(weight[:, order] * ~positive[order], steps, axis=1)
    positives, negatives = found.sum(axis=1), false.sum(axis=1)
    found_so_far, false_so_far = found.cumsum(axis=1), false.cumsum(axis=1)
    beaten = negatives[:, None] - false_so_far + false / 2  # negatives of lower score, and half of those of equal
    auroc = (found * beaten).sum(axis=1) / (positives * negatives)
    so_far = found_so_far + false_so_far
    precision = np.divide(found_so_far, so_far, out=np.zeros_like(so_far), where=so_far > 0)
    average = (found * precision).sum(axis=1) / positives
    return auroc, average


def _mean_of_defined(scores: Floats) -> Floats:
    """Mean over the last axis without its NaN; NaN where there is nothing else."""
    defined = ~np.isnan(scores)
    mean: Floats = np.where(defined, scores, 0).sum(axis=-1) / defined.sum(axis=-1)
    return mean
