"""External data, a collection at a time: where one has both, the kind of picture does not tell tumour from none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.evaluation.tables import Predictions, binary_table, share

COLUMNS = (
    "collection",
    *("tumour_images", "healthy_images", "groups"),
    *("auroc", "auroc_low", "auroc_high"),
    *("sensitivity", "sensitivity_low", "sensitivity_high"),
    *("specificity", "specificity_low", "specificity_high"),
)


def external_table(predictions: Predictions | None, collections: Sequence[str]) -> pd.DataFrame:
    """How well any tumour is told from no tumour in each collection.

    Args:
        predictions: of external images, whose labels may be `UNKNOWN_TUMOUR`, grouped by patient and near-duplicate;
            None where there are none.
        collections: (images,), the name of the data set of each.

    Returns:
        `COLUMNS`, a row a collection: AUROC, sensitivity and specificity by the largest probability, each with its
        interval over groups. NaN for what needs images that a collection has not.
    """
    rows = []
    if predictions is not None:
        names = np.array(collections)
        rows = [{"collection": name} | _scores(predictions.subset(names == name)) for name in sorted(set(collections))]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _scores(predictions: Predictions) -> dict[str, Any]:
    tumour, found = predictions.labels != HEALTHY_INDEX, predictions.predicted != HEALTHY_INDEX
    healthy = predictions.probabilities[:, HEALTHY_INDEX]
    scores: dict[str, Any] = {
        "tumour_images": int(tumour.sum()),
        "healthy_images": int((~tumour).sum()),
        "groups": len(np.unique(predictions.groups)),
    }
    if 0 < tumour.sum() < len(tumour):
        ranking = binary_table({"": np.stack([healthy, 1 - healthy], axis=1)}, tumour, predictions).iloc[0]
        scores |= {name: ranking[name] for name in ("auroc", "auroc_low", "auroc_high")}
    for name, members, hits in (("sensitivity", tumour, found), ("specificity", ~tumour, ~found)):
        value, low, high = share(hits[members], predictions.subset(members))
        scores |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return scores
