"""Where runs stand between sensitivity to tumours of a new source and specificity on the healthy test images.

A classifier decides at one point of a curve; the table gives that point, the area under the curve, and what each of the
two is where the other is 95 %. It gives them for all images of the test folder `notumor`, for those that are no CT, and
for those that show no mass either, as `docs/test_notumor.csv` has them. All of it is measured on test images and
held-back pictures: nothing may be chosen by it.

    python experiments/trade_off.py lite0-br35h-trains

Run from the project's root with the names of runs (`dvc queue status`) whose results are in DVC's cache, after
`dvc repro augment` with `download.additional: [br35h]`. Writes experiments/trade_off.csv; what it has already stays.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tables
from choose import model_of, split_of
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from brain_tumor.data.arrays import Arrays, SplitArrays, open_arrays
from brain_tumor.data.catalog import CLASSES, HEALTHY
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.model import predict
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import open_cache
from brain_tumor.stage import stage

TABLE = Path("experiments/trade_off.csv")
SHOWN = Path("docs/test_notumor.csv")
_HEALTHY = CLASSES.index(HEALTHY)
_TARGET = 0.95

LEFT_OUT: dict[str, list[str]] = {"all": [], "no CT": ["ct"], "no CT, no mass": ["ct", "mass"]}
"""Which images of `notumor` count as healthy, and what these must not show."""


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    runs = parser.parse_args().runs
    arrays = open_arrays(Path("data/arrays"))
    if arrays.external is None:
        raise UserError("data/arrays has no new sources: run dvc repro augment with download.additional: [br35h]")
    table = pd.DataFrame([row for run in runs for row in rows(run, arrays, arrays.external)])
    print(tables.put(TABLE, table, ["run", "healthy"]).to_string(index=False))


def rows(run: str, arrays: Arrays, new: SplitArrays) -> Iterator[dict[str, Any]]:
    """A row for each choice of healthy images.

    Raises:
        UserError: the run's model cannot be had, or it has trained on what it would be measured on.
    """
    split_of(run, pd.concat([arrays.test.index["path"], new.index["path"]]))
    classifier = model_of(run)
    healthy = arrays.test.labels == _HEALTHY
    shown = arrays.test.index["path"][healthy].map(pd.read_csv(SHOWN).set_index("path")["shows"])
    at_healthy, at_tumours = (probabilities(classifier, images) for images in (arrays.test.images[healthy], new.images))
    right, found = at_healthy.argmax(axis=1) == _HEALTHY, at_tumours.argmax(axis=1) != _HEALTHY
    for name, left_out in LEFT_OUT.items():
        keep = ~shown.isin(left_out).to_numpy()
        yield {
            "run": run,
            "healthy": name,
            "images": int(keep.sum()),
            "specificity": right[keep].mean(),
            "sensitivity": found.mean(),
            **curve(1 - at_healthy[keep, _HEALTHY], 1 - at_tumours[:, _HEALTHY]),
        }


def curve(alarm: NDArray[np.float64], found: NDArray[np.float64]) -> dict[str, float]:
    """What a threshold on the probability of a tumour can make of them.

    Args:
        alarm: (healthy,), probability of a tumour in healthy images.
        found: (tumours,), the same in images with one.
    """
    labels = np.repeat([0, 1], [len(alarm), len(found)])
    return {
        "auroc": float(roc_auc_score(labels, np.concatenate([alarm, found]))),
        "sensitivity_at_95": float(np.mean(found > np.quantile(alarm, _TARGET))),
        "specificity_at_95": float(np.mean(alarm < np.quantile(found, 1 - _TARGET))),
    }


def probabilities(classifier: Classifier, images: Pixels) -> NDArray[np.float64]:
    """(images, classes)."""
    return predict.probabilities(classifier, images, open_cache())


if __name__ == "__main__":
    main()
