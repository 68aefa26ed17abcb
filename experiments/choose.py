"""What recipes can be chosen by: validation, and further pictures that neither train nor are held back to measure on.

Validation is cut from the training sources and does not see whether a network recognises them. So the half of Br35H
that is not held back, and that no recipe here trains on, tells how far it finds tumours of a new source; how specific
it is there is told by the healthy heads of validation. Test images and held-back pictures are not looked at.

    python experiments/choose.py lite0 lite0-epochs-6

Run from the project's root with names of runs (`dvc queue status`) or commits whose results are in DVC's cache, after
`dvc repro split` with `download.additional: [br35h]`. Validation is that of each run. Writes experiments/choose.csv;
runs that it has already stay.
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import dvc.api
import numpy as np
import pandas as pd
import tables
from dvc.exceptions import DvcException
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from brain_tumor.data.catalog import CLASSES, HEALTHY, TRAIN, VALIDATION, read_split
from brain_tumor.data.images import prepare_images
from brain_tumor.errors import UserError
from brain_tumor.model import predict
from brain_tumor.model.classifier import Classifier, load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.split.protocols import NOT_TRAINED_ON
from brain_tumor.stage import stage

RAW, SPLIT = Path("data/raw"), Path("data/split.csv")
TABLE = Path("experiments/choose.csv")
_HEALTHY = CLASSES.index(HEALTHY)


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    runs = parser.parse_args().runs
    split = read_split(SPLIT)
    further = split[split["reason"] == NOT_TRAINED_ON]
    if further.empty:
        raise UserError(f"{SPLIT} has no further pictures: run dvc repro split with download.additional: [br35h]")
    table = pd.DataFrame([{"run": run} | scores(model_of(run), validation_of(run, further), further) for run in runs])
    print(tables.put(TABLE, table, ["run"]).to_string(index=False))


def model_of(run: str) -> Classifier:
    """The network of a run.

    Raises:
        UserError: no such run, or its model is not in DVC's cache.
    """
    try:
        content = dvc.api.read("models/model.safetensors", rev=run, mode="rb")
    except (DvcException, FileNotFoundError) as error:
        raise UserError(f"{run}: its model cannot be had ({error})") from None
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        return load_classifier(Path(file.name))


def split_of(run: str, measured: pd.Series) -> pd.DataFrame:
    """The split of a run.

    Args:
        run: name or commit.
        measured: paths of pictures that the run is to be measured on.

    Raises:
        UserError: no such run, its split is not in DVC's cache, or it has trained on some of these pictures.
    """
    try:
        split = pd.read_csv(io.StringIO(dvc.api.read(str(SPLIT), rev=run)), dtype=str)
    except (DvcException, FileNotFoundError) as error:
        raise UserError(f"{run}: its split cannot be had ({error})") from None
    trained_on = split.loc[split["split"].isin([TRAIN, VALIDATION]), "path"]
    if measured.isin(trained_on).any():
        raise UserError(f"{run} trained on some of the pictures that it would be measured on")
    return split


def validation_of(run: str, further: pd.DataFrame) -> pd.DataFrame:
    """The validation images of a run that has not trained on the further pictures; errors as for `split_of`."""
    split = split_of(run, further["path"])
    return split[split["split"] == VALIDATION]


def scores(classifier: Classifier, validation: pd.DataFrame, further: pd.DataFrame) -> dict[str, Any]:
    """How a network does on validation and on tumours of a new source.

    Args:
        classifier: a network.
        validation: columns `path` and `class`.
        further: pictures with a tumour of unknown type, column `path`.
    """
    known, new = probabilities(classifier, validation), probabilities(classifier, further)
    labels = validation["class"].map(CLASSES.index).to_numpy()
    called, healthy = known.argmax(axis=1), labels == _HEALTHY
    tumour = 1 - np.concatenate([known[healthy], new])[:, _HEALTHY]
    return {
        "validation_log_loss": log_loss(labels, known, labels=range(len(CLASSES))),
        "validation_balanced_accuracy": balanced_accuracy_score(labels, called),
        "validation_notumor": np.mean(called[healthy] == _HEALTHY),
        "further_tumor": np.mean(new.argmax(axis=1) != _HEALTHY),
        "auroc": roc_auc_score(np.arange(len(tumour)) >= healthy.sum(), tumour),
    }


def probabilities(classifier: Classifier, pictures: pd.DataFrame) -> NDArray[np.float64]:
    """(pictures, classes)."""
    images, _ = prepare_images([RAW / path for path in pictures["path"]], classifier.description.reader)
    return predict.probabilities(classifier, images, open_cache())


if __name__ == "__main__":
    main()
