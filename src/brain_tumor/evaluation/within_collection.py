"""Tumour or none within one collection: there the kind of picture does not give the answer away."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.evaluation.tables import Predictions, binary_table, share

COLUMNS = (
    "collection",
    *("tumour_images", "healthy_images", "groups"),
    *("auroc", "auroc_low", "auroc_high"),
    *("sensitivity", "sensitivity_low", "sensitivity_high"),
    *("specificity", "specificity_low", "specificity_high"),
)


def within_collections(predictions: Predictions | None, collections: Sequence[str]) -> pd.DataFrame:
    """How well tumour is told from no tumour among pictures of one collection.

    Args:
        predictions: of external images, grouped by patient and near-duplicate; None where there are none.
        collections: (images,), the name of the data set of each.

    Returns:
        `COLUMNS`, a row a collection that has both: AUROC of any tumour against none, sensitivity and specificity by
        the largest probability, each with its interval over groups. Empty where no collection has both.
    """
    rows: list[dict[str, Any]] = []
    if predictions is not None:
        names, tumour = np.array(collections), predictions.labels != HEALTHY_INDEX
        for name in sorted(set(collections)):
            chosen = names == name
            if 0 < tumour[chosen].sum() < chosen.sum():
                rows.append({"collection": name} | _scores(predictions.subset(chosen), tumour[chosen]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(predictions: Predictions, tumour: NDArray[np.bool_]) -> dict[str, Any]:
    healthy = predictions.probabilities[:, HEALTHY_INDEX]
    guess = np.stack([healthy, 1 - healthy], axis=1)
    ranking = binary_table({"": guess}, tumour, predictions).iloc[0]
    found = predictions.predicted != HEALTHY_INDEX
    scores: dict[str, Any] = {
        "tumour_images": int(tumour.sum()),
        "healthy_images": int((~tumour).sum()),
        "groups": len(np.unique(predictions.groups)),
        **{name: ranking[name] for name in ("auroc", "auroc_low", "auroc_high")},
    }
    for name, members, hits in (("sensitivity", tumour, found), ("specificity", ~tumour, ~found)):
        value, low, high = share(hits[members], predictions.subset(members))
        scores |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return scores
