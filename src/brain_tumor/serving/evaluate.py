"""`brain-tumor evaluate`: score a model on a folder of pictures with a folder per class, as the pipeline scores it."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.arrays import SplitArrays
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.evaluation.metrics import (
    BY_CLASS,
    OVERALL,
    class_scores,
    classification_text,
    confusion,
    overall_scores,
    tumour_sensitivity,
)
from brain_tumor.evaluation.reliability import reliability
from brain_tumor.evaluation.summary import selective_table, set_table
from brain_tumor.evaluation.tables import Predictions, class_table, overall_table, share
from brain_tumor.files import write_json
from brain_tumor.progress import progress
from brain_tumor.score_files import write_predictions, write_table
from brain_tumor.serving.onnx_model import Exported
from brain_tumor.serving.predict import NOT_ALIKE, UNREADABLE
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.released import add_model_argument
from brain_tumor.serving.stream import answers, expand

TUMOUR, HEALTHY = "tumor", "notumor"
"""The folder of tumours of unknown type, and the class of pictures without one."""

SEED = 17
"""Of the intervals, so that the same answers give the same ones."""


@dataclass
class Scored:
    """Answers for the pictures of some folders.

    Attributes:
        files: a name a picture; slices of a volume have that of the volume.
        pixels: a picture as the model saw it, each; empty where they are not wanted.
        probabilities: a row a picture.
        labels: a class index a picture; -1 for a tumour of unknown type.
        familiar: whether a picture is like the training images.
        unreadable: how many files could not be read.
    """

    files: list[str] = field(default_factory=list)
    pixels: list[Pixels] = field(default_factory=list)
    probabilities: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    familiar: list[bool] = field(default_factory=list)
    unreadable: int = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor evaluate`."""
    parser.epilog = f"Exit status: 0; {UNREADABLE} if files could not be read."
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help=f"holds a folder for each class, by the names of the model; {TUMOUR} holds tumours of unknown type, for "
        "which it is told how many are called a tumour",
    )
    parser.add_argument(
        "--map", action="append", default=[], metavar="NAME=CLASS", help="a folder of another name; may be repeated"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores there")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the tables and figures of the pipeline's evaluation there"
    )
    add_model_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Score a folder; returns the exit status."""
    predictor = Predictor(args.model)
    classes = predictor.exported.classes
    scored = score_folders(predictor, class_folders(args.folder, args.map, classes), keep=args.out is not None)
    scores = summary(scored, classes)
    if args.out:
        write_report(args.out, scored, predictor.exported)
    print(text(scored, scores, classes))
    if args.json:
        write_json(args.json, scores)
    return UNREADABLE if scored.unreadable else 0


def class_folders(folder: Path, mapping: Sequence[str], classes: Sequence[str]) -> dict[Path, str]:
    """The class of each folder below `folder`; hidden ones are passed over.

    Raises:
        UserError: no such folder, none below it, or one whose name is no class and not mapped to one.
    """
    known = (*classes, TUMOUR)
    names = {name: name for name in known}
    for entry in mapping:
        name, sign, label = entry.partition("=")
        if not sign or label not in known:
            raise UserError(f"--map {entry}: expected NAME=CLASS with a class of {', '.join(known)}")
        names[name] = label
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name one that holds a folder for each class")
    below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not below:
        raise UserError(f"{folder} holds no folders: expected some of {', '.join(known)}")
    for path in below:
        if path.name not in names:
            raise UserError(f"{path}: its name is no class: add --map {path.name}=CLASS, one of {', '.join(known)}")
    return {path: names[path.name] for path in below}


def score_folders(predictor: Predictor, folders: Mapping[Path, str], *, keep: bool = False) -> Scored:
    """Answers for all pictures of the folders; files that cannot be read are named on stderr and left out.

    Args:
        predictor: a model.
        folders: the class of each.
        keep: the pictures too, which takes memory.
    """
    scored = Scored()
    classes = predictor.exported.classes
    for folder, label in folders.items():
        for answer in progress(folder.name, unit="file")(answers(predictor, expand([str(folder)]))):
            if answer.error:
                scored.unreadable += 1
                print(f"error: {answer.error}", file=sys.stderr)
            for prediction, picture in zip(answer.predictions, answer.pictures, strict=True):
                scored.files.append(str(answer.path))
                if keep:
                    scored.pixels.append(picture.pixels)
                scored.probabilities.append(list(prediction.probabilities.values()))
                scored.labels.append(-1 if label == TUMOUR else classes.index(label))
                scored.familiar.append(prediction.familiar)
    if not scored.labels:
        raise UserError(f"no pictures in {', '.join(map(str, folders))}")
    return scored


def summary(scored: Scored, classes: Sequence[str]) -> dict[str, Any]:
    """Scores as the pipeline has them, and what only such a folder has, ready for JSON.

    All pictures count, whether they are like the training images or not; `not_like_training_images` tells how many are
    not. `accuracy_low` and `accuracy_high` are its 95 % interval by a bootstrap over files, so that slices of a volume
    are drawn as one. `tumour_of_unknown_type` has `images`, and the `sensitivity` by largest probability. What has no
    denominator is None.
    """
    probabilities, labels = np.array(scored.probabilities), np.array(scored.labels)
    scores: dict[str, Any] = {}
    typed = labels >= 0
    if typed.any():
        overall = overall_scores(probabilities[typed], labels[typed])[0]
        of_class = typed_predictions(scored, classes)
        _, low, high = share(of_class.correct, of_class)
        each = class_scores(probabilities[typed], labels[typed])[0]
        scores |= {"images": int(typed.sum())} | _named(OVERALL, overall)
        scores |= {"accuracy_low": low, "accuracy_high": high}
        scores["per_class"] = {
            name: {"images": int((labels == index).sum())} | _named(BY_CLASS, each[index])
            for index, name in enumerate(classes)
        }
    if not typed.all():
        found = tumour_sensitivity(probabilities[~typed], list(classes).index(HEALTHY))[0]
        scores["tumour_of_unknown_type"] = {"images": int((~typed).sum()), "sensitivity": float(found[0])}
    scores["not_like_training_images"] = int(np.sum(~np.array(scored.familiar)))
    scores["unreadable_files"] = scored.unreadable
    return scores


def typed_predictions(scored: Scored, classes: Sequence[str]) -> Predictions:
    """The answers for pictures of a known class, as the pipeline's evaluation takes them."""
    labels = np.array(scored.labels)
    typed = labels >= 0
    files = np.array(scored.files)[typed]
    return Predictions(np.array(scored.probabilities)[typed], labels[typed], tuple(classes), files, SEED)


def write_report(folder: Path, scored: Scored, exported: Exported) -> None:
    """The tables and figures of the evaluate stage that such a folder can have, under the same names."""
    predictions = typed_predictions(scored, exported.classes)
    if not len(predictions.labels):
        raise UserError("--out: only tumours of unknown type are in the folder, for which there are no such tables")
    shown = [pixels for pixels, label in zip(scored.pixels, scored.labels, strict=True) if label >= 0]
    part = SplitArrays(np.stack(shown), pd.DataFrame({"path": predictions.groups}))
    write_predictions(folder, predictions, part)
    write_table(folder / "scores.csv", overall_table(predictions))
    write_table(folder / "scores_by_class.csv", class_table(predictions))
    write_table(folder / "reliability.csv", reliability(predictions.probabilities, predictions.labels))
    write_table(folder / "risk_coverage.csv", selective_table(predictions)[0])
    if exported.prediction_sets:
        write_table(folder / "prediction_sets.csv", set_table(predictions, exported.prediction_sets))


def text(scored: Scored, scores: Mapping[str, Any], classes: Sequence[str]) -> str:
    """The scores for a terminal."""
    probabilities, labels = np.array(scored.probabilities), np.array(scored.labels)
    typed = labels >= 0
    parts = []
    if typed.any():
        parts.append(classification_text(probabilities[typed], labels[typed], classes))
        low, high = scores["accuracy_low"], scores["accuracy_high"]
        parts.append(f"accuracy: {scores['accuracy']:.1%}, 95 % interval {low:.1%} to {high:.1%}")
        parts.append("true class by row, called so by column:")
        width = max(map(len, classes))
        parts.append("  ".join([" " * width, *(f"{name:>{width}}" for name in classes)]))
        for name, counts in zip(classes, confusion(probabilities[typed], labels[typed]), strict=True):
            parts.append("  ".join([f"{name:>{width}}", *(f"{count:>{width},}" for count in counts)]))
    unknown = scores.get("tumour_of_unknown_type")
    if unknown:
        parts.append(f"tumours of unknown type: {unknown['sensitivity']:.1%} of {unknown['images']:,} called a tumour")
    parts.append(f"{NOT_ALIKE}: {scores['not_like_training_images']:,} of {len(labels):,} pictures")
    return "\n".join(parts)


def _named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
