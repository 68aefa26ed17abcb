"""The card of a released model: what it is, how it scores, and what it is not for."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from brain_tumor.evaluation.tables import Predictions
from brain_tumor.files import file_digest, flattened
from brain_tumor.model.backbones import BACKBONES

EXTERNAL_SCORES = {
    "sensitivity": ("tumour_images",),
    "specificity": ("healthy_images",),
    "auroc": ("tumour_images", "healthy_images"),
}
"""Scores of `external_table`, each with the columns that count its images."""

DATA_LICENCES = {
    "br35h": "Br35H (Kaggle `ahmedhamada0/brain-tumor-detection`)",
    "lgg": "LGG (Kaggle `mateuszbuda/lgg-mri-segmentation`: that page is quoted with CC BY-NC-SA 4.0, TCIA's "
    "collection with CC BY 3.0; neither was verified)",
}
"""External sets, with who says what of their licence."""


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
    def data(self) -> str:
        """External sets that train, and their licences, as a sentence."""
        trained = [name for name in self.params["split"]["additional"] if name in self.params["download"]["additional"]]
        if not trained:
            return "No external data trained it."
        named = "; ".join(DATA_LICENCES[name] for name in trained)
        return f"Trained also on a part of {named}. `dvc exp run -S 'split.additional=[]'` makes a model without."

    @property
    def licence(self) -> str:
        """Of the start weights."""
        train = self.params["train"]
        known = BACKBONES[train["backbone"]].weights.get(train["weights"])
        return known.licence if known else "see there"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Parameters of `after` that `before` has otherwise, as `section.name=value`: what `dvc exp run -S` takes."""
    old = dict(flattened(before))
    return [
        f"{name}={json.dumps(value, ensure_ascii=False, separators=(',', ':')).replace(chr(34), '')}"
        for name, value in flattened(after)
        if old.get(name) != value
    ]


def card(
    released: Path,
    study: Study,
    subsets: pd.DataFrame,
    sensitivities: pd.DataFrame,
    external: pd.DataFrame,
    full: Predictions,
    scored: Predictions,
    ood: Mapping[str, float],
) -> str:
    """The model card (Mitchell et al. 2019) as Markdown.

    Args:
        released: the model.
        study: what it comes from.
        subsets: accuracy on subsets of the test images, as `subset_table` has it.
        sensitivities: of each class, as `class_table` has them.
        external: scores of external collections, as `external_table` has them.
        full: predictions of the network as trained.
        scored: predictions of the exported model.
        ood: by collection, the share of its images that is not like the training images.
    """
    rows = [(f"test images: {row.subset}", row.accuracy, row.low, row.high, row.images) for row in subsets.itertuples()]
    for _, row in sensitivities.iterrows():
        rows.append((f"sensitivity, {row['class']}", row["value"], row["low"], row["high"], row["images"]))
    for _, row in external.iterrows():
        for score, images in EXTERNAL_SCORES.items():
            if not pd.isna(row[score]):
                title, of = f"held back from {row['collection']}: {score}", sum(row[name] for name in images)
                rows.append((title, row[score], row[f"{score}_low"], row[f"{score}_high"], of))
    table = "\n".join(f"| {title} | {v:.1%} ({low:.1%} to {high:.1%}) | {n:,} |" for title, v, low, high, n in rows)
    by_class = ", ".join(
        f"{title} {scored.subset(members).correct.mean() - full.subset(members).correct.mean():+.1%}"
        for title, members in ((title, scored.labels == label) for label, title in enumerate(scored.classes))
    )
    not_like = ", ".join(f"{share:.1%} of {images}" for images, share in ood.items())
    train = study.params["train"]
    return f"""# Model card

`{released.name}` classifies slices of brain MRI as glioma, meningioma, pituitary tumour or no tumour.
{study.numbers}, for OpenVINO or any other runtime that reads ONNX. `scripts/release.py` made it from commit
`{study.revision}` after

    {study.command}

SHA-256 `{file_digest(released)}`.

For research and teaching. **No medical device**: nothing here may be used to decide about a patient.

## Data and protocol

Data set `{study.params["download"]["dataset"]}` (Kaggle `masoudnickparvar/brain-tumor-mri-dataset`, 7,023 images),
protocol `{study.params["split"]["protocol"]}`. Network `{train["backbone"]}`, head `{train["head"]}`, start weights
`{train["weights"]}`, trained: `{train["trainable"]}`. All other parameters are in `params.yaml` of the commit.
{study.data}

## Scores of this file

Share of correct predictions with its 95 % interval, a bootstrap over duplicate groups and patients. Of collections
that are held back: tumours predicted a tumour of any type, healthy heads predicted healthy, AUROC of the two.

| | share | images |
| --- | --- | --- |
{table}

The network as trained classifies {full.correct.mean():.2%} of all test images correctly,
this file {scored.correct.mean():.2%}; the change by class: {by_class}.
Reported as not like the training images: {not_like}.

## Limits

See the README's. A distance between features decides whether an image is like the training images; 99 % of validation
pass. It stops empty images, noise and most photographs (a portrait passes with EfficientNet-Lite0); an abdomen in MR
may pass. The prediction sets promise 95 % for images exchangeable with those of validation.

## Licences

Main set: CC0, as its page on Kaggle says. Outlines: Cheng et al., figshare 1512427, CC BY 4.0. External data: see
above. Start weights `{train["weights"]}`: {study.licence}. Code and
this model: Apache 2.0, as far as the terms of the data allow; see NOTICE.
"""
