"""What a recipe is chosen by: validation, and external images that neither train nor test.

Validation images come from the training sources, so they cannot show whether a network recognises a source. The half of
Br35H that is not held back, and on which no recipe here trains, shows how many tumours of another source it finds; the
healthy validation images show how specific it is there. The script reads no test image.

    python experiments/choose.py lite0 lite0-epochs-6

Run from the project's root with names of runs (`dvc exp list --all-commits`) or commits whose results are in DVC's
cache, after `dvc repro split` with `download.additional: [br35h]`. Writes experiments/choose.csv; other rows stay.
"""

import argparse
import io
import tempfile
from pathlib import Path

import dvc.api
import numpy as np
import pandas as pd
from dvc.exceptions import DvcException
from runs import put
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX, TRAIN, VALIDATION, read_split
from brain_tumor.data.images import prepare_images
from brain_tumor.errors import UserError
from brain_tumor.evaluation.tables import Floats
from brain_tumor.model import predict
from brain_tumor.model.classifier import Classifier, load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.split.protocols import NOT_TRAINED_ON
from brain_tumor.stage import stage

RAW, SPLIT = Path("data/raw"), Path("data/split.csv")
MODEL = "models/model.safetensors"
TABLE = Path("experiments/choose.csv")


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    runs = parser.parse_args().runs
    split = read_split(SPLIT)
    external = split[split["reason"] == NOT_TRAINED_ON]
    if external.empty:
        raise UserError(f"{SPLIT} has no external images: run dvc repro split with download.additional: [br35h]")
    rows = []
    for run in runs:
        classifier, validation = model_of(run), validation_of(run, external["path"])
        known, new = (probabilities(classifier, images["path"]) for images in (validation, external))
        rows.append({"run": run} | scores(known, validation["class"], new))
    print(put(TABLE, pd.DataFrame(rows), ["run"]).to_string(index=False))


def model_of(run: str) -> Classifier:
    """The network of a run; errors as for `read`."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(read(run, MODEL))
        file.flush()
        return load_classifier(Path(file.name))


def validation_of(run: str, external: pd.Series) -> pd.DataFrame:
    """The validation images of a run.

    Args:
        run: name or commit.
        external: paths of the images that the run is to be measured on.

    Raises:
        UserError: as for `read`, or the run has trained on some of these images.
    """
    split = pd.read_csv(io.BytesIO(read(run, str(SPLIT))), dtype=str)
    trained_on = split.loc[split["split"].isin([TRAIN, VALIDATION]), "path"]
    if external.isin(trained_on).any():
        raise UserError(f"{run} trained on some of the images that it would be measured on")
    return split[split["split"] == VALIDATION]


def read(run: str, path: str) -> bytes:
    """A file of a run.

    Raises:
        UserError: no such run, or the file is not in DVC's cache.
    """
    try:
        content: bytes = dvc.api.read(path, rev=run, mode="rb")
    except (DvcException, FileNotFoundError) as error:
        raise UserError(f"{run}: cannot read its {path} ({error})") from None
    return content


def probabilities(classifier: Classifier, paths: pd.Series) -> Floats:
    """(images, classes)."""
    images, _ = prepare_images([RAW / path for path in paths], classifier.description.reader)
    return predict.probabilities(classifier, images, open_cache())


def scores(known: Floats, classes: pd.Series, new: Floats) -> dict[str, float]:
    """How a network does on validation images and on tumours of another source.

    Args:
        known: (validation images, classes), probabilities.
        classes: the classes of the validation images.
        new: (external images, classes), of images with a tumour of unknown type.
    """
    labels = classes.map(CLASSES.index).to_numpy()
    predicted, healthy = known.argmax(axis=1), labels == HEALTHY_INDEX
    tumour = 1 - np.concatenate([known[healthy], new])[:, HEALTHY_INDEX]
    return {
        "validation_log_loss": log_loss(labels, known, labels=range(len(CLASSES))),
        "validation_balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "validation_notumor": np.mean(predicted[healthy] == HEALTHY_INDEX),
        "not_trained_on_tumor": np.mean(new.argmax(axis=1) != HEALTHY_INDEX),
        "auroc": roc_auc_score(np.arange(len(tumour)) >= healthy.sum(), tumour),
    }


if __name__ == "__main__":
    main()
