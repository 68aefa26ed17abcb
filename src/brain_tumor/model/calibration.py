"""The few numbers by which a prediction with a probability of 0.9 becomes correct nine times in ten."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from brain_tumor.data.catalog import scores_and_labels

Floats = NDArray[np.float64]

_SCALES = (0.05, 20.0)
"""Bounds of the inverse of the temperature, far beyond what trained networks need."""

_TO_THE_LAST_DIGITS = {"ftol": 1e-14, "gtol": 1e-9}
"""Of the search, so that another processor finds the same but for rounding."""


@dataclass(frozen=True)
class Calibration:
    """What turns logits into probabilities: `softmax((logits + offsets) / temperature)`.

    Attributes:
        temperature: 0.05 to 20; above 1 where the classifier is too sure.
        offsets: (classes,), their sum is 0; above 0 for a class that is predicted too seldom.
    """

    temperature: float
    offsets: Floats


def fit_calibration(logits: ArrayLike, labels: ArrayLike, class_weights: ArrayLike | None = None) -> Calibration:
    """The temperature and the offsets with which the log loss on held-out images is smallest.

    The offsets mend what training does to how often a class is predicted, as images of one class with synthetic tumours
    do. A standard normal prior keeps them small where few images say otherwise, and finite where all predictions are
    correct; the loss is convex in 1/T and offsets/T, so the minimum is the only one. The temperature is near an end of
    its range where the loss falls all the way, as it does if every prediction is correct.

    Args:
        logits: (images, classes), of images that did not train the classifier.
        labels: (images,), class indices.
        class_weights: (classes,), what an image of each class counts, mean 1 over the images; None is 1 for all. With
            weights inverse to their number, classes count alike, and the offsets do not follow how many images of
            each happen to be held out.

    Raises:
        ValueError: as `scores_and_labels`, or logits that are not finite.

    Source: bias-corrected temperature scaling, Alexandari et al., Maximum Likelihood with Bias-Corrected Calibration
    is Hard-To-Beat at Label Shift Adaptation, ICML 2020, section 3; without offsets Guo et al., On Calibration of
    Modern Neural Networks, ICML 2017, section 4.2.
    """
    values, truth = scores_and_labels(logits, labels)
    if not np.isfinite(values).all():
        raise ValueError("expected finite logits")
    classes = values.shape[1]
    weights = np.ones(len(truth)) if class_weights is None else np.asarray(class_weights, np.float64)[truth]
    hits = np.eye(classes)[truth]

    def loss(point: Floats) -> tuple[float, Floats]:
        scale, biases = point[0], point[1:]
        log_shares = log_softmax(scale * values + biases, axis=1)
        errors = weights[:, None] * (np.exp(log_shares) - hits)
        gradient = np.append((errors * values).sum(), errors.sum(axis=0) + biases)
        return float((biases @ biases) / 2 - weights @ (log_shares * hits).sum(axis=1)), gradient

    bounds = [_SCALES, *[(None, None)] * classes]
    start = np.append(1.0, np.zeros(classes))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=_TO_THE_LAST_DIGITS).x
    return Calibration(float(1 / found[0]), (found[1:] - found[1:].mean()) / found[0])


def calibrated(logits: ArrayLike, temperature: float) -> Floats:
    """Probabilities (images, classes) from logits; a temperature of 1 is the plain softmax."""
    probabilities: Floats = softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return probabilities
