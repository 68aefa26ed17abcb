"""What a classifier is worth that may abstain: the error among the images it is surest of."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from brain_tumor.data.catalog import scores_and_labels

RISKS = (0.01, 0.02)
"""Shares of wrong answers for which the coverage is reported."""


def risk_coverage(probabilities: ArrayLike, labels: ArrayLike) -> pd.DataFrame:
    """Share of wrong predictions among the most confident ones, for every number of them.

    Confidence is the largest probability. Images of equal confidence are answered together.

    Args:
        probabilities: (images, classes), rows sum to 1.
        labels: (images,), class indices.

    Returns:
        A row for each distinct confidence, highest first: `confidence` (the lowest that is answered), `coverage`
        (share of images answered) and `risk` (share of those that is wrong).

    Raises:
        ValueError: as `scores_and_labels`.

    Source: El-Yaniv and Wiener, On the foundations of noise-free selective classification, JMLR 2010.
    """
    values, truth = scores_and_labels(probabilities, labels)
    confidence = values.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.diff(confidence[order], append=-np.inf))  # last image of each confidence
    wrong = np.cumsum((values.argmax(axis=1) != truth)[order])[ends]
    answered = ends + 1
    return pd.DataFrame(
        {"confidence": confidence[order][ends], "coverage": answered / len(truth), "risk": wrong / answered}
    )


def coverage_at(curve: pd.DataFrame, risk: float) -> float:
    """The largest share of images that can be answered with at most this risk; 0 if there is none.

    The confidence from which to answer is chosen on the very images that are counted, so it is what is there to be
    had and no promise for others.

    Args:
        curve: as `risk_coverage` gives it.
        risk: 0 to 1.
    """
    return float(curve.loc[curve["risk"] <= risk, "coverage"].max()) if (curve["risk"] <= risk).any() else 0.0
