"""What a classifier got right on a set of images, as counts and ratios."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import classification_report, confusion_matrix, precision_recall_fscore_support


def evaluate(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """Headline scores and the scores of each class; an image is called the class of its largest probability.

    A ratio without a denominator is None: recall of a class that is not in the set, precision of one that is never
    predicted, F1 of one that is neither. The means over classes leave such a class out.

    Args:
        probabilities: (images, classes), each row sums to 1. Of equal largest values the first one counts.
        labels: (images,), index into `classes`.
        classes: the names, in the order of the columns.

    Returns:
        `accuracy`, `balanced_accuracy` (mean recall), `macro_f1` (mean F1), the counts `images` and `correct`, and
        `per_class`: for each name `precision`, `recall`, `f1`, and the counts `correct` (true positives), `predicted`
        (images called so) and `support` (images that are so). Plain Python values, ready for JSON.

    Raises:
        ValueError: no images, shapes that do not agree, values that are no probabilities, or an unknown label.
    """
    predictions, truth = _predictions(probabilities, labels, classes)
    indices = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predictions, labels=indices, zero_division=np.nan
    )
    right = np.bincount(truth[predictions == truth], minlength=len(classes))
    predicted = np.bincount(predictions, minlength=len(classes))
    if support.sum() != len(truth):
        raise AssertionError(f"{support.sum()} images scored, {len(truth)} in the set")
    return {
        "accuracy": float(right.sum() / len(truth)),
        "balanced_accuracy": _defined(np.nanmean(recall)),
        "macro_f1": _defined(np.nanmean(f1)),
        "images": len(truth),
        "correct": int(right.sum()),
        "per_class": {
            name: {
                "precision": _defined(precision[index]),
                "recall": _defined(recall[index]),
                "f1": _defined(f1[index]),
                "correct": int(right[index]),
                "predicted": int(predicted[index]),
                "support": int(support[index]),
            }
            for index, name in enumerate(classes)
        },
    }


def confusion(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> NDArray[np.int64]:
    """Count the images of each true class (row) by what they are called (column), in the order of `classes`.

    Arguments and errors are those of `evaluate`.
    """
    predictions, truth = _predictions(probabilities, labels, classes)
    counts: NDArray[np.int64] = confusion_matrix(truth, predictions, labels=np.arange(len(classes)))
    return counts


def classification_text(probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[str]) -> str:
    """scikit-learn's classification report; an undefined ratio reads `nan`.

    Arguments and errors are those of `evaluate`.
    """
    predictions, truth = _predictions(probabilities, labels, classes)
    text: str = classification_report(
        truth,
        predictions,
        labels=np.arange(len(classes)),
        target_names=list(classes),
        digits=4,
        zero_division=np.nan,
    )
    return text


def accuracy_by(
    probabilities: ArrayLike, labels: ArrayLike, masks: Mapping[str, ArrayLike]
) -> dict[str, dict[str, float | int | None]]:
    """Accuracy on parts of a set, for example on the images with and without a copy in the training set.

    Args:
        probabilities: (images, classes), as for `evaluate`.
        labels: (images,), class indices.
        masks: for each part its name and (images,), True where an image belongs to it. Parts may overlap.

    Returns:
        For each name the counts `images` and `correct`, and `accuracy`: None for a part without images.

    Raises:
        ValueError: as `evaluate`, and for a mask of another length or type.
    """
    values = np.asarray(probabilities)
    predictions, truth = _predictions(values, labels, range(values.shape[-1] if values.ndim else 0))
    hits = predictions == truth
    scores: dict[str, dict[str, float | int | None]] = {}
    for name, mask in masks.items():
        chosen = np.asarray(mask)
        if chosen.dtype != np.bool_ or chosen.shape != hits.shape:
            raise ValueError(f"mask {name}: {chosen.dtype} of shape {chosen.shape}, expected bool of {hits.shape}")
        images, correct = int(chosen.sum()), int(hits[chosen].sum())
        scores[name] = {"images": images, "correct": correct, "accuracy": correct / images if images else None}
    return scores


def _predictions(
    probabilities: ArrayLike, labels: ArrayLike, classes: Sequence[object]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Check the input; return predicted and true class of each image."""
    values, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    if truth.ndim != 1 or not len(truth) or values.shape != (len(truth), len(classes)):
        raise ValueError(
            f"probabilities {values.shape} and labels {truth.shape}: expected (images, {len(classes)}) and (images,)"
        )
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= len(classes):
        raise ValueError(f"labels must be integers from 0 to {len(classes) - 1}")
    if not (np.all(values >= 0) and np.allclose(values.sum(axis=1), 1, rtol=0, atol=1e-3)):
        raise ValueError("every row of probabilities must be non-negative and sum to 1")
    return values.argmax(axis=1), truth.astype(np.int64)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
