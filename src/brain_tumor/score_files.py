"""What the evaluation leaves behind in `plots/`: tables for `dvc plots show`, and figures."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.annotations import Outline
from brain_tumor.data.arrays import Arrays, SplitArrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.hemispheres import mirrored_hemispheres, one_sided, opposite
from brain_tumor.data.images import Pixels, read_images
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.evaluation.curves import precision_recall_curves, roc_curves
from brain_tumor.evaluation.lesion_removal import lesion_removed_images
from brain_tumor.evaluation.metrics import confusion
from brain_tumor.evaluation.shortcuts import file_features, guess_tumour, histogram, surroundings
from brain_tumor.evaluation.summary import confusion_table, surest_mistakes
from brain_tumor.evaluation.tables import (
    EXTERNAL_COLUMNS,
    Predictions,
    binary_table,
    external_table,
    lesion_removal_rows,
)
from brain_tumor.figures.scores import confusion_matrix, ranking_curves
from brain_tumor.figures.sheets import mistakes_sheet
from brain_tumor.figures.style import save
from brain_tumor.files import atomic_file

HEALTHY = CLASSES.index("notumor")

MISTAKES = 24
"""How many of the surest mistakes are shown."""

OTHER_SOURCES = "other sources only"
"""Of test images that are not in the annotated collection."""

HEMISPHERES = "the network (halves of the same heads)"
"""Row of the table of confounds: the source says nothing there."""

Ask = Callable[[Pixels], NDArray[np.float64]]
"""From images at model size to calibrated probabilities (images, classes)."""


def write_predictions(folder: Path, predictions: Predictions, test: SplitArrays) -> None:
    """Every prediction, which classes are confused, curves of each class, and the surest mistakes."""
    values = predictions.probabilities, predictions.labels
    names = np.array(CLASSES)
    table = pd.DataFrame({"path": test.index["path"], "actual": names[predictions.labels]})
    table["predicted"] = names[predictions.probabilities.argmax(axis=1)]
    table[list(CLASSES)] = predictions.probabilities.round(6)
    write_table(folder / "predictions.csv", table)
    write_table(folder / "confusion.csv", confusion_table(predictions))
    save(confusion_matrix(confusion(*values), CLASSES), folder / "confusion_matrix.png")
    roc, precision_recall = roc_curves(*values, CLASSES), precision_recall_curves(*values, CLASSES)
    write_table(folder / "roc.csv", roc)
    write_table(folder / "precision_recall.csv", precision_recall)
    save(ranking_curves(roc, precision_recall, CLASSES), folder / "ranking_curves.png")
    rows = surest_mistakes(predictions, MISTAKES)
    surest = predictions.probabilities.max(axis=1)
    captions = [
        f"is {row['actual']}\ncalled {row['predicted']}, p = {surest[number]:.3f}"
        for number, row in zip(rows, table.iloc[rows].to_dict("records"), strict=True)
    ]
    save(mistakes_sheet([test.images[row] for row in rows], captions), folder / "surest_mistakes.png")


def write_shortcuts(
    folder: Path,
    raw: Path,
    arrays: Arrays,
    predictions: Predictions,
    annotated: Collection[str],
    halves: pd.DataFrame,
) -> None:
    """How well tumour is told from no tumour by files, surroundings and grey values alone.

    Over all test images, and over those that are not in the annotated collection: there tumours and healthy heads
    both come from elsewhere, so that the collection itself tells nothing.

    Args:
        folder: of the table.
        raw: folder of the data set.
        arrays: train and test images.
        predictions: of the test images.
        annotated: paths of the images that are in the annotations; empty where there are none.
        halves: further rows, of `hemispheres_told_apart`.
    """
    train, test = arrays.train, arrays.test
    originals = train.index["augmented"].to_numpy() == 0
    paths = [[raw / path for path in index["path"]] for index in (train.index[originals], test.index)]
    size = train.images.shape[1]
    seen = train.images[originals], test.images
    whole = [read_images(files, size) for files in paths]
    features = {
        "file: size, aspect, colour": [file_features(files) for files in paths],
        "border and background, whole picture": [surroundings(images) for images in whole],
        "border and background, as the network sees it": [surroundings(images) for images in seen],
        "histogram, whole picture": [histogram(images) for images in whole],
        "histogram, as the network sees it": [histogram(images) for images in seen],
    }
    tumour = train.labels[originals] != HEALTHY
    guesses = {name: guess_tumour(known, tumour, new, predictions.seed) for name, (known, new) in features.items()}
    network = predictions.probabilities[:, HEALTHY]
    guesses["the network"] = np.stack([network, 1 - network], axis=1)
    truth = predictions.labels != HEALTHY
    table = binary_table(guesses, truth, predictions)
    other = ~test.index["path"].isin(annotated).to_numpy(bool)
    if 0 < truth[other].sum() < other.sum() < len(other):
        elsewhere_too = {f"{name} ({OTHER_SOURCES})": guess[other] for name, guess in guesses.items()}
        table = pd.concat([table, binary_table(elsewhere_too, truth[other], predictions.subset(other))])
    write_table(folder / "shortcuts.csv", pd.concat([table, halves]))


def hemispheres_told_apart(
    outlines: Mapping[str, Outline], test: SplitArrays, predictions: Predictions, ask: Ask
) -> pd.DataFrame:
    """How well the network tells heads made of the half with the tumour from those made of the other half.

    Both come from the same pictures, so that neither source nor kind of picture tells them apart.

    Args:
        outlines: by path.
        test: the test images.
        predictions: of them.
        ask: the network.

    Returns:
        A row as those of `binary_table`; none where no tumour with an outline lies on one side.
    """
    rows, sides = one_sided(outlines, test.index["path"].tolist(), test.frames, test.images)
    if not len(rows):
        return pd.DataFrame()
    images = test.images[rows]
    answers = ask(np.concatenate([mirrored_hemispheres(images, opposite(sides)), mirrored_hemispheres(images, sides)]))
    healthy, twice = answers[:, HEALTHY], np.tile(rows, 2)
    of = Predictions(answers, predictions.labels[twice], CLASSES, predictions.groups[twice], predictions.seed)
    return binary_table({HEMISPHERES: np.stack([healthy, 1 - healthy], axis=1)}, np.arange(len(twice)) >= len(rows), of)


def write_lesion_removed(
    folder: Path, outlines: Mapping[str, Outline], test: SplitArrays, predictions: Predictions, ask: Ask
) -> None:
    """What pictures of rightly found tumours are called without the tumour."""
    size = test.images.shape[1]
    rows, masks = masks_at_model_size(outlines, test.index["path"].tolist(), test.frames, size)
    found = predictions.correct[rows] & (predictions.labels[rows] != HEALTHY)
    chosen, masks = rows[found], masks[found]
    if not len(chosen):
        write_table(folder / "lesion_removed.csv", pd.DataFrame(columns=["lesion_removed", "class", "images"]))
        return
    before = predictions.subset(np.isin(np.arange(len(test)), chosen))
    tables = [
        lesion_removal_rows(name, before.subset(those), ask(changed), HEALTHY)
        for name, (those, changed) in lesion_removed_images(test.images[chosen], masks).items()
        if those.any()
    ]
    write_table(folder / "lesion_removed.csv", pd.concat(tables))


def write_external(folder: Path, part: SplitArrays | None, groups: pd.Series, seed: int, ask: Ask) -> dict[str, float]:
    """How held-back pictures of further data sets are called; without any, a table without rows.

    Args:
        folder: of the table.
        part: the pictures.
        groups: by path, equal for images that depend on one another.
        seed: of the intervals.
        ask: the network.

    Returns:
        For each class that is there the share that is called rightly, for the headline.
    """
    table = pd.DataFrame(columns=list(EXTERNAL_COLUMNS))
    if part is not None:
        names, units = part.index["class"].to_numpy(str), part.index["path"].map(groups).to_numpy(str)
        table = external_table(ask(part.images), names, units, HEALTHY, seed)
    write_table(folder / "external.csv", table)
    return {f"external_{row['class']}": row["correct"] for row in table.to_dict("records")}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
