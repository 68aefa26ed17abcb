"""How well volumes are read whose slices are labelled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.evaluation.tables import Predictions, share
from brain_tumor.evaluation.volumes import slices_of_volumes, volume_answer

OF_VOLUMES = ("found", "dice", "class_correct")

COLUMNS = (
    *("collection", "sequence", "volumes", "slices", "groups"),
    *(f"{name}{end}" for name in (*OF_VOLUMES, "slices_correct") for end in ("", "_low", "_high")),
)


def volume_table(predictions: Predictions | None, paths: Sequence[str], threshold: float) -> pd.DataFrame:
    """How well external volumes with a tumour of known type are read; only slices that are there count.

    Args:
        predictions: of external images, grouped by patient; None where there are none.
        paths: of the images.
        threshold: of `volume_answer`.

    Returns:
        `COLUMNS`, a row a collection and sequence, means with their intervals over groups. Of volumes: `found`, a slice
        with the tumour is marked; `dice`, overlap of the slices from the first to the last that is marked with those
        from the first to the last with a tumour (Dice 1945); `class_correct`. Of slices: `slices_correct`, marked
        exactly if they show a tumour. Empty where there are no such volumes.
    """
    rows: list[dict[str, Any]] = []
    if predictions is not None:
        for (collection, sequence), slices in slices_of_volumes(paths).groupby(["collection", "sequence"]):
            volumes = [volume for _, volume in slices.sort_values("level").groupby("volume")]
            ill = [volume for volume in volumes if (predictions.labels[volume.index] != HEALTHY_INDEX).any()]
            if ill:
                row = {"collection": collection, "sequence": sequence, "volumes": len(ill)}
                rows.append(row | _scores(predictions, ill, threshold))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(predictions: Predictions, volumes: Sequence[pd.DataFrame], threshold: float) -> dict[str, Any]:
    labels, images = predictions.labels, len(predictions.labels)
    correct, of_volumes = np.full(images, np.nan), np.full((images, len(OF_VOLUMES)), np.nan)
    for volume in volumes:
        rows = volume.index
        answer = volume_answer(predictions.probabilities[rows], volume["level"], threshold)
        tumour = labels[rows] != HEALTHY_INDEX
        correct[rows] = answer.marked == tumour
        # In the row of one of its slices, which has the group of the volume.
        of_volumes[rows[0]] = (
            (answer.marked & tumour).any(),
            _dice(_span(answer.marked), _span(tumour)),
            answer.label == labels[rows][tumour][0],
        )
    is_slice, is_volume = ~np.isnan(correct), ~np.isnan(of_volumes[:, 0])
    slices, each = predictions.subset(is_slice), predictions.subset(is_volume)
    row: dict[str, Any] = {"slices": len(slices.labels), "groups": each.sizes["groups"]}
    shares = {name: share(values, each) for name, values in zip(OF_VOLUMES, of_volumes[is_volume].T, strict=True)}
    for name, estimate in (shares | {"slices_correct": share(correct[is_slice], slices)}).items():
        row |= zip((name, f"{name}_low", f"{name}_high"), estimate, strict=True)
    return row


def _span(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """From the first that is marked to the last."""
    return np.logical_or.accumulate(marked) & np.logical_or.accumulate(marked[::-1])[::-1]


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Overlap of two masks, 0 to 1; `other` is not empty."""
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))
