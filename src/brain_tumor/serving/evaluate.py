"""`brain-tumor evaluate`: score a model on a folder of pictures with a folder per class, as the pipeline scores it."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import HEALTHY_INDEX, TUMOUR
from brain_tumor.data.images import Pixels
from brain_tumor.download.layout import class_named
from brain_tumor.errors import UserError, printable
from brain_tumor.evaluation.metrics import (
    BY_CLASS,
    OVERALL,
    class_scores,
    classification_text,
    confusion,
    overall_scores,
)
from brain_tumor.evaluation.reliability import reliability
from brain_tumor.evaluation.study import mistakes, score_tables
from brain_tumor.evaluation.tables import Predictions, share
from brain_tumor.figures.scores import confusion_matrix, ranking_curves
from brain_tumor.figures.sheets import mistakes_sheet
from brain_tumor.figures.style import save
from brain_tumor.files import write_csv, write_json
from brain_tumor.progress import progress
from brain_tumor.serving.onnx_model import Exported
from brain_tumor.serving.predict import NOT_ALIKE, UNREADABLE
from brain_tumor.serving.predictor import Predictor
from brain_tumor.serving.released import add_model_argument
from brain_tumor.serving.stream import answers, expand

SEED = 17
"""Of the intervals, so that the same answers give the same ones."""


@dataclass(frozen=True)
class Scored:
    """Answers for the pictures of some folders.

    Attributes:
        predictions: of all pictures; the label is -1 for a tumour of unknown type, and the group is the file or series,
            so that slices of a volume are drawn as one.
        pixels: each picture as the model saw it; none where they are not wanted.
        in_distribution: (pictures,), whether a picture is like the training images.
        unreadable: how many files could not be read.
        empty: how many folders hold no picture that could be read.
    """

    predictions: Predictions
    pixels: Sequence[Pixels]
    in_distribution: NDArray[np.bool_]
    unreadable: int
    empty: int

    @property
    def typed(self) -> NDArray[np.bool_]:
        """(pictures,), whether the class is known."""
        typed: NDArray[np.bool_] = self.predictions.labels >= 0
        return typed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `brain-tumor evaluate`."""
    parser.epilog = f"Exit status: 0; {UNREADABLE} if files could not be read, or a folder has none."
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help=f"holds a folder for each class, called as in training; {TUMOUR} holds tumours of unknown type, which "
        "are scored by how many are predicted as a tumour of any type",
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
    folders = class_folders(args.folder, args.map, predictor.exported.classes)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    scored = score_folders(predictor, folders, keep=args.out is not None)
    if scored is None:
        return UNREADABLE
    scores = summary(scored)
    print(text(scored, scores))
    if args.json:
        write_json(args.json, scores)
    if args.out:
        write_report(args.out, scored, predictor.exported)
    return UNREADABLE if scored.unreadable or scored.empty else 0


def class_folders(folder: Path, mapping: Sequence[str], classes: Sequence[str]) -> dict[Path, str]:
    """The class of each folder below `folder`, by names as `class_named` understands them; hidden ones are passed over.

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
    found = {}
    for path in below:
        name = names.get(path.name) or class_named(path.name) or ""
        if name not in known:
            hint = f"add --map {path.name}=CLASS, one of {', '.join(known)}; of a set with training and test folders "
            raise UserError(f"{path}: its name is no class: {hint}name one of these")
        found[path] = name
    return found


def score_folders(predictor: Predictor, folders: Mapping[Path, str], *, keep: bool = False) -> Scored | None:
    """Answers for all pictures of the folders; None where there are none.

    Files that cannot be read, and folders without any that can, are named on stderr and left out.

    Args:
        predictor: a model.
        folders: the class of each.
        keep: the pictures too, which takes memory.
    """
    classes = predictor.exported.classes
    rows: list[tuple[list[float], int, str, bool]] = []
    pixels: list[Pixels] = []
    unreadable = empty = 0
    for folder, name in folders.items():
        label = -1 if name == TUMOUR else classes.index(name)
        before = len(rows)
        for answer in progress(printable(folder.name), unit="file")(answers(predictor, expand([str(folder)]))):
            if answer.error:
                unreadable += 1
                print(f"error: {answer.error}", file=sys.stderr)
            for prediction in answer.predictions:
                values = list(prediction.probabilities.values())
                rows.append((values, label, answer.name, prediction.in_distribution))
            if keep:
                pixels += [picture.grey for picture in answer.pictures]
        if len(rows) == before:
            empty += 1
            print(f"error: no pictures in {printable(str(folder))}: name it no class, or add some", file=sys.stderr)
    if not rows:
        return None
    probabilities, labels, files, in_distribution = map(np.array, zip(*rows, strict=True))
    return Scored(Predictions(probabilities, labels, classes, files, SEED), pixels, in_distribution, unreadable, empty)


def summary(scored: Scored) -> dict[str, Any]:
    """Scores as the pipeline has them, and what only such a folder has, ready for JSON.

    All pictures count, in distribution or not; `out_of_distribution` is the number of those that are not.
    `accuracy_low` and `accuracy_high` are the 95 % interval by a bootstrap over files. `tumour_of_unknown_type` has
    `images`, and the `sensitivity` by largest probability. What has no denominator is None.
    """
    scores: dict[str, Any] = {}
    typed = scored.predictions.subset(scored.typed)
    unknown = scored.predictions.probabilities[~scored.typed]
    if len(typed.labels):
        overall = overall_scores(typed.probabilities, typed.labels)[0]
        each = class_scores(typed.probabilities, typed.labels)[0]
        scores |= {"images": len(typed.labels)} | _named(OVERALL, overall)
        _, scores["accuracy_low"], scores["accuracy_high"] = share(typed.correct, typed)
        scores["per_class"] = {
            name: {"images": int((typed.labels == index).sum())} | _named(BY_CLASS, each[index])
            for index, name in enumerate(typed.classes)
        }
    if len(unknown):
        sensitivity = np.mean(unknown.argmax(axis=1) != HEALTHY_INDEX)
        scores["tumour_of_unknown_type"] = {"images": len(unknown), "sensitivity": float(sensitivity)}
    scores["out_of_distribution"] = int((~scored.in_distribution).sum())
    scores["unreadable_files"] = scored.unreadable
    return scores


def write_report(folder: Path, scored: Scored, exported: Exported) -> None:
    """The tables and figures of the evaluate stage that such a folder can have, under the same names."""
    predictions = scored.predictions.subset(scored.typed)
    if not len(predictions.labels):
        raise UserError("--out: only tumours of unknown type are in the folder, for which there are no such tables")
    shown = np.stack([pixels for pixels, typed in zip(scored.pixels, scored.typed, strict=True) if typed])
    tables = score_tables(predictions, predictions.groups.tolist(), exported.prediction_sets)
    tables["reliability"] = reliability(predictions.probabilities, predictions.labels)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    figures = {
        "confusion_matrix": confusion_matrix(tables["confusion"]),
        "ranking_curves": ranking_curves(tables["roc"], tables["precision_recall"]),
        "surest_mistakes": mistakes_sheet(*mistakes(predictions, shown)),
    }
    for name, figure in figures.items():
        save(figure, folder / f"{name}.png")


def text(scored: Scored, scores: Mapping[str, Any]) -> str:
    """The scores for a terminal."""
    lines = []
    typed = scored.predictions.subset(scored.typed)
    if len(typed.labels):
        lines.append(classification_text(typed.probabilities, typed.labels, typed.classes))
        low, high = scores["accuracy_low"], scores["accuracy_high"]
        lines.append(f"accuracy: {scores['accuracy']:.1%}, 95 % interval {low:.1%} to {high:.1%}")
        lines.append("true class by row, predicted class by column:")
        counts = pd.DataFrame(confusion(typed.probabilities, typed.labels), [*typed.classes], [*typed.classes])
        lines.append(counts.to_string())
    unknown = scores.get("tumour_of_unknown_type")
    if unknown:
        found = f"{unknown['sensitivity']:.1%} of {unknown['images']:,} predicted as a tumour"
        lines.append(f"tumours of unknown type: {found}")
    number = len(scored.in_distribution)
    lines.append(f"{NOT_ALIKE}: {scores['out_of_distribution']:,} of {number:,} pictures")
    return "\n".join(lines)


def _named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, float | None]:
    return {name: None if np.isnan(value) else float(value) for name, value in zip(names, values, strict=True)}
