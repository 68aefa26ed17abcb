"""The card of a released model: what it is, how it scores, and what it is not for."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from brain_tumor.evaluation.tables import Predictions
from brain_tumor.files import file_digest
from brain_tumor.model.backbones import BACKBONES


@dataclass(frozen=True)
class Study:
    """Where a model comes from.

    Attributes:
        revision: the commit whose code made it.
        params: all parameters.
        changed: those that are not as in the commit, as `dvc exp run -S` takes them.
        int8: whether the released file computes in whole numbers of 8 bits.
    """

    revision: str
    params: Mapping[str, Any]
    changed: Sequence[str]
    int8: bool

    @property
    def command(self) -> str:
        """What runs it again."""
        changed = (f"-S {shlex.quote(change)}" for change in self.changed)
        return " ".join(["dvc exp run", *changed]) if self.changed else "dvc repro"

    @property
    def numbers(self) -> str:
        """Their format, as a sentence begins."""
        return "INT8" if self.int8 else "Full precision"

    @property
    def licence(self) -> str:
        """Of the start weights."""
        train = self.params["train"]
        known = BACKBONES[train["backbone"]].weights.get(train["weights"])
        return known.licence if known else "see there"


def card(
    released: Path,
    study: Study,
    parts: pd.DataFrame,
    sensitivities: pd.DataFrame,
    sources: pd.DataFrame,
    full: Predictions,
    scored: Predictions,
    unlike: Mapping[str, float],
) -> str:
    """The model card (Mitchell et al. 2019) as Markdown.

    Args:
        released: the model.
        study: what it comes from.
        parts: accuracy on parts of the test images.
        sensitivities: of each class.
        sources: what pictures of further data sets are called.
        full: what the network says as it was trained.
        scored: what the released file says.
        unlike: for each kind of pictures the share that is not like the training images.
    """
    rows = [(f"test images: {row.subset}", row.accuracy, row.low, row.high, row.images) for row in parts.itertuples()]
    for _, row in sensitivities.iterrows():
        rows.append((f"sensitivity, {row['class']}", row["value"], row["low"], row["high"], row["images"]))
    for _, row in sources.iterrows():
        called = "no tumour" if row["class"] == "notumor" else "a tumour"
        name = f"other sources, {row['class']}: called {called}"
        rows.append((name, row["correct"], row["low"], row["high"], row["images"]))
    by_class = ", ".join(
        f"{name} {scored.subset(scored.labels == label).correct.mean() - full.subset(full.labels == label).correct.mean():+.1%}"
        for label, name in enumerate(scored.classes)
    )
    table = "\n".join(f"| {name} | {v:.1%} ({low:.1%} to {high:.1%}) | {n:,} |" for name, v, low, high, n in rows)
    told = ", ".join(f"{share:.1%} of the {pictures}" for pictures, share in unlike.items())
    train = study.params["train"]
    return f"""# Model card

`{released.name}` tells glioma, meningioma, pituitary tumour and no tumour apart on slices of brain MRI.
{study.numbers}, for OpenVINO or any other runtime that reads ONNX. Made by `scripts/release.py` from commit
`{study.revision}` after

    {study.command}

SHA-256 `{file_digest(released)}`.

## Intended use

Research and teaching. **No medical device**: nothing here may be used to decide about a patient.

## Data and protocol

Data set `{study.params["download"]["dataset"]}` (Kaggle `masoudnickparvar/brain-tumor-mri-dataset`, 7,023 images),
protocol `{study.params["split"]["protocol"]}`. Network `{train["backbone"]}`, head `{train["head"]}`, start weights
`{train["weights"]}`, trained: `{train["trainable"]}`. All other parameters are in `params.yaml` of the commit.

## Scores of this file

Share that is right, with its 95 % interval: a bootstrap over groups of copies and patients.

| | share | images |
| --- | --- | --- |
{table}

Of all test images the network as trained calls {full.correct.mean():.2%} rightly, this file {scored.correct.mean():.2%};
the change by class: {by_class}.
Reported as not like the training images: {told}.

## Limits

Single slices of one public collection, without clinical context, mostly contrast-enhanced T1 for tumours and other
sequences for healthy brains: part of what it tells apart is the kind of picture. By what heads made of tumour-free
halves are called, a healthy head on contrast-enhanced T1 would nearly always be called a tumour. Any other disease
would be called one of the three tumours.
Whether a picture is like the training images is told by a distance between features, whose threshold lets 99 % of the
validation images pass; it is a safeguard, not a proof. Photographs, empty pictures and noise are told, and so are CT
slices of the few files it was tried on; an abdomen in MR may pass, and drawn pictures of a head as CT shows it do.
DICOM files of another modality than MR are told by their header. The prediction sets promise 95 % for pictures
exchangeable with those of validation. The result for a volume is a mean over slices and was not validated.

## Licences

Data set: CC0, as its page on Kaggle says. Start weights `{train["weights"]}`: {study.licence}. Code and
this model: those of the repository; where it holds no licence, none is granted.
"""
