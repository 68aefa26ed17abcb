"""What the slices of a volume say together: which of them show a tumour, and of which class."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brain_tumor.data.catalog import EXTERNAL_FOLDER, HEALTHY_INDEX

Floats = NDArray[np.float64]

_SLICE = rf"^{EXTERNAL_FOLDER}/(?P<collection>[^/]+)/[^/]+/(?P<volume>.+)_(?P<level>\d+)_(?P<sequence>[a-z]\w*)\.\w+$"
"""Path of a slice of an external volume, as `download/lgg.py` names it."""

_SMALLEST = np.finfo(np.float64).tiny


class VolumeAnswer(NamedTuple):
    """What the slices of a volume say together.

    Attributes:
        marked: (slices,), whether a slice shows a tumour.
        label: index of the class: a tumour exactly if a slice is marked.
        probabilities: (classes,), they sum to 1.
    """

    marked: NDArray[np.bool_]
    label: int
    probabilities: Floats


def volume_answer(probabilities: ArrayLike, levels: ArrayLike, threshold: float) -> VolumeAnswer:
    """Mark the slices that show a tumour, and read the class from them alone.

    The volume is as likely to have a tumour as its surest slice is (`tumour_evidence`). Tumours share that as they do
    in the mean over the marked slices, or over the surest where none is marked: a linear opinion pool (Genest and
    Zidek, Combining probability distributions, 1986). Slices depend on one another, so more of them make it no surer. A
    mean of logarithms would let a slice that is marked for its neighbours alone decide, because its own probabilities
    of all tumours are tiny and their ratios say nothing.

    Args:
        probabilities: (slices, classes), rows sum to 1; at least one slice.
        levels: (slices,), whole numbers, all different, that order the slices; neighbours differ by 1.
        threshold: a slice is marked where its evidence exceeds it, 0 to 1.
    """
    values = np.asarray(probabilities, np.float64)
    evidence = tumour_evidence(values, levels)
    marked, surest = evidence > threshold, evidence.max()
    used = marked if marked.any() else evidence == surest
    pooled = values[used].mean(axis=0)
    pooled[HEALTHY_INDEX] = 0
    label = int(pooled.argmax()) if marked.any() else HEALTHY_INDEX
    pooled *= surest / max(pooled.sum(), _SMALLEST)
    pooled[HEALTHY_INDEX] = 1 - surest
    return VolumeAnswer(marked, label, pooled)


def tumour_evidence(probabilities: ArrayLike, levels: ArrayLike) -> Floats:
    """The probability of a tumour in each slice, (slices,), smoothed so that a slice alone is no finding.

    It is the median of a slice and its neighbours. A slice with one neighbour takes the smaller of both values, and
    one without any keeps its own.

    Arguments are those of `volume_answer`.
    """
    tumour, places = 1 - np.asarray(probabilities, np.float64)[:, HEALTHY_INDEX], np.asarray(levels)
    rows = places - places.min() + 1
    dense = np.full(rows.max() + 2, -np.inf)  # slices that are not there
    dense[rows] = tumour
    medians = np.median([dense[rows - 1], tumour, dense[rows + 1]], axis=0)
    return np.where(np.isinf(medians), tumour, medians)


def slices_of_volumes(paths: Iterable[str]) -> pd.DataFrame:
    """The images that are slices of external volumes, by row number: `collection`, `volume`, `level`, `sequence`."""
    return pd.Series(list(paths), dtype=str).str.extract(_SLICE).dropna().astype({"level": int})


def best_threshold(probabilities: Floats, labels: NDArray[np.int64], paths: Iterable[str]) -> float | None:
    """The threshold with the largest sum of sensitivity and specificity over slices (Youden, Index for rating
    diagnostic tests, 1950).

    Args:
        probabilities: (images, classes).
        labels: (images,), class indices.
        paths: (images,); only `slices_of_volumes` count.

    Returns:
        The middle between the evidence of the last slice that is marked and of the next; None where the slices do not
        show both tumour and no tumour.
    """
    slices = slices_of_volumes(paths)
    tumour = labels[slices.index] != HEALTHY_INDEX
    if not 0 < tumour.sum() < len(tumour):
        return None
    evidence = pd.Series(0.0, slices.index)
    for _, volume in slices.groupby(["volume", "sequence"]):
        evidence[volume.index] = tumour_evidence(probabilities[volume.index], volume["level"])
    order = np.argsort(-evidence.to_numpy(), kind="stable")
    values = np.append(evidence.to_numpy()[order], 0)
    gain = np.where(tumour, 1 / tumour.sum(), -1 / (~tumour).sum())[order].cumsum()
    gain[values[:-1] == values[1:]] = -np.inf  # slices of equal evidence are marked together
    best = int(gain.argmax())
    return float(values[best : best + 2].mean())
