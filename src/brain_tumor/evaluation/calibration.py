"""Whether a probability of 0.9 is right nine times in ten, and the one number that makes it more so."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

Floats = NDArray[np.float64]

BINS = 15

_RANGE = (np.log(0.05), np.log(20.0))
"""Bounds of the logarithm of the temperature, far beyond what trained networks need."""


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The temperature that divides logits so that their log loss on held-out images is smallest.

    It changes how sure the classifier is, and no prediction. The loss is convex in 1/T, so the minimum is the only one.

    Args:
        logits: (images, classes), of images that did not train the classifier.
        labels: (images,), class indices.

    Returns:
        0.05 to 20; above 1 where the classifier is too sure. Near an end of the range where the loss falls all
        the way, as it does if every image is right.

    Raises:
        ValueError: no images, shapes that do not agree, or values that are not finite.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.
    """
    values, truth = np.asarray(logits, np.float64), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1] or not len(truth) or not np.isfinite(values).all():
        raise ValueError(f"logits {values.shape}, labels {truth.shape}: expected finite (images, classes), (images,)")
    rows = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(values / np.exp(log_temperature), axis=1)[rows, truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded", options={"xatol": 1e-6}).x))


def calibrated(logits: ArrayLike, temperature: float) -> Floats:
    """Probabilities (images, classes) from logits; a temperature of 1 is the plain softmax."""
    probabilities: Floats = softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return probabilities


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over bins of equal size.

    Equal mass, because most predictions of a trained classifier crowd near 1 and bins of equal width stand empty.
    Never quite 0 on few images, even for a perfectly calibrated classifier.

    Args:
        probabilities: (images, classes), rows sum to 1.
        labels: (images,), class indices.
        bins: of which there are at most as many as images.

    Returns:
        0 to 1.

    Raises:
        ValueError: no images, or shapes that do not agree.

    Source: Nixon et al., Measuring Calibration in Deep Learning, 2019, section 4.2.
    """
    table = reliability(probabilities, labels, bins)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float(np.average(gaps, weights=table["images"]))


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Confidence and accuracy in bins of equal size, from the least to the most confident.

    Confidence is the largest probability of an image. Images of equal confidence are never parted: their accuracy
    would depend on their order. So bins can differ in size, and be fewer.

    Args:
        probabilities: as for `expected_calibration_error`.
        labels: as for `expected_calibration_error`.
        bins: as for `expected_calibration_error`.

    Returns:
        A row a bin: `confidence` and `accuracy` (means), `images`.
    """
    values, truth = np.asarray(probabilities, np.float64), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1] or not len(truth):
        raise ValueError(f"probabilities {values.shape}, labels {truth.shape}: expected (images, classes), (images,)")
    confidence = values.max(axis=1)
    right = values.argmax(axis=1) == truth
    first = np.searchsorted(np.sort(confidence), confidence)  # images of lower confidence
    number = first * min(bins, len(truth)) // len(truth)
    table = pd.DataFrame({"confidence": confidence, "accuracy": right.astype(float), "bin": number})
    grouped = table.groupby("bin")
    return grouped.mean().assign(images=grouped.size()).reset_index(drop=True)
