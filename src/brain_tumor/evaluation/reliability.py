"""Whether a prediction with probability 0.9 is correct nine times in ten."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from brain_tumor.data.catalog import scores_and_labels

BINS = 15


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
        ValueError: as `scores_and_labels`.

    Source: Nixon et al., Measuring Calibration in Deep Learning, 2019, section 4.2.
    """
    table = reliability(probabilities, labels, bins)
    gaps = (table["confidence"] - table["accuracy"]).abs()
    return float(np.average(gaps, weights=table["images"]))


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """Confidence and accuracy in bins of equal size, from the least to the most confident.

    Confidence is the largest probability of an image. Images of equal confidence stay together, because the accuracy
    would depend on their order. So bins can differ in size, and be fewer.

    Args:
        probabilities: as for `expected_calibration_error`.
        labels: as for `expected_calibration_error`.
        bins: as for `expected_calibration_error`.

    Returns:
        A row a bin: `confidence` and `accuracy` (means), `images`.
    """
    values, truth = scores_and_labels(probabilities, labels)
    confidence = values.max(axis=1)
    correct = values.argmax(axis=1) == truth
    first = np.searchsorted(np.sort(confidence), confidence)  # images of lower confidence
    number = first * min(bins, len(truth)) // len(truth)
    table = pd.DataFrame({"confidence": confidence, "accuracy": correct.astype(float), "bin": number})
    grouped = table.groupby("bin")
    return grouped.mean().assign(images=grouped.size()).reset_index(drop=True)
