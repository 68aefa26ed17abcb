"""The tables of predictions and scores: of all test images, of each class, of subsets, and of external data."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import HEALTHY_INDEX, TESTING, published_duplicates
from brain_tumor.evaluation.intervals import bootstrap
from brain_tumor.evaluation.metrics import BY_CLASS, OVERALL, class_scores, confusion, overall_scores

Floats = NDArray[np.float64]

WITH_DUPLICATE, WITHOUT_DUPLICATE = "with a published duplicate", "without a published duplicate"
"""Subsets of the published test images: with and without a duplicate in the published training set."""


@dataclass(frozen=True)
class Predictions:
    """What a classifier predicts for a set of images.

    Attributes:
        probabilities: (images, classes), rows sum to 1.
        labels: (images,), class indices.
        classes: names, in the order of the columns.
        groups: (images,), equal for images that depend on one another.
        seed: of the intervals.
    """

    probabilities: Floats
    labels: NDArray[np.int64]
    classes: Sequence[str]
    groups: NDArray[np.str_]
    seed: int

    @property
    def predicted(self) -> NDArray[np.intp]:
        """(images,), the class of the largest probability, of equal ones the first."""
        predicted: NDArray[np.intp] = self.probabilities.argmax(axis=1)
        return predicted

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(images,), whether the predicted class is the true one."""
        correct: NDArray[np.bool_] = self.predicted == self.labels
        return correct

    @property
    def sizes(self) -> dict[str, int]:
        """How many `images` there are, in how many independent `groups`."""
        return {"images": len(self.labels), "groups": len(np.unique(self.groups))}

    def subset(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Those of the images where `mask` is True."""
        return Predictions(self.probabilities[mask], self.labels[mask], self.classes, self.groups[mask], self.seed)


def prediction_table(predictions: Predictions, paths: Sequence[str]) -> pd.DataFrame:
    """A row an image: `path`, `actual` and `predicted` class, and a column of probabilities for each class."""
    names = np.array(predictions.classes)
    table = pd.DataFrame({"path": list(paths), "actual": names[predictions.labels]})
    table["predicted"] = names[predictions.predicted]
    table[list(names)] = predictions.probabilities.round(6)
    return table


def confusion_table(predictions: Predictions) -> pd.DataFrame:
    """A row a pair of classes: `actual`, `predicted`, `images`, and `share` of the actual class, NaN without images."""
    counts = pd.DataFrame(confusion(predictions.probabilities, predictions.labels))
    pairs = pd.MultiIndex.from_product([predictions.classes] * 2, names=["actual", "predicted"])
    shares = counts.div(counts.sum(axis=1), axis=0)
    table = pd.DataFrame({"images": counts.to_numpy().ravel(), "share": shares.to_numpy().ravel()}, index=pairs)
    return table.reset_index()


def surest_mistakes(predictions: Predictions, number: int) -> NDArray[np.intp]:
    """Rows of the wrong predictions with the largest probability, surest first; one of each group."""
    order = np.argsort(-predictions.probabilities.max(axis=1), kind="stable")
    wrong = order[~predictions.correct[order]]
    _, first = np.unique(predictions.groups[wrong], return_index=True)
    return wrong[np.sort(first)][:number]


def overall_table(predictions: Predictions) -> pd.DataFrame:
    """Scores of the whole set, a row a score of `OVERALL`: `score`, `value`, `low`, `high`."""
    statistic = partial(overall_scores, predictions.probabilities, predictions.labels)
    estimate = bootstrap(statistic, predictions.groups, predictions.seed)
    return pd.DataFrame({"score": OVERALL, **estimate._asdict()})


def class_table(predictions: Predictions) -> pd.DataFrame:
    """Each class against all others: `class`, `images`, `groups`, `score` of `BY_CLASS`, `value`, `low`, `high`."""
    statistic = partial(class_scores, predictions.probabilities, predictions.labels)
    estimate = bootstrap(statistic, predictions.groups, predictions.seed)._asdict()
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(predictions.classes):
        of_class = {"class": name, **predictions.subset(predictions.labels == index).sizes}
        for number, score in enumerate(BY_CLASS):
            rows.append(of_class | {"score": score} | {end: values[index, number] for end, values in estimate.items()})
    return pd.DataFrame(rows)


def subsets_of(
    paths: pd.Series, predictions: Predictions, split: pd.DataFrame, annotated: Collection[str]
) -> dict[str, NDArray[np.bool_]]:
    """The subsets of the test images that are scored apart.

    Args:
        paths: of the test images.
        predictions: of the same images.
        split: `SPLIT_COLUMNS` of the whole set.
        annotated: paths of the images that are in the annotations; empty where there are none.

    Returns:
        For each name a mask over the test images: all; with and without a duplicate in the published training set;
        and each class in and out of the annotated collection, where annotations are there. In the main set that
        collection is Cheng's (figshare 1512427), and the others are from elsewhere. None is empty.
    """
    duplicate = paths.isin(published_duplicates(split)).to_numpy(bool)
    published = paths.isin(split.loc[split["folder"] == TESTING, "path"]).to_numpy(bool)
    subsets = {"all": np.ones(len(paths), bool), WITH_DUPLICATE: duplicate, WITHOUT_DUPLICATE: published & ~duplicate}
    if annotated:
        known = paths.isin(annotated).to_numpy(bool)
        for index, name in enumerate(predictions.classes):
            subsets[f"{name}, annotated"] = known & (predictions.labels == index)
            subsets[f"{name}, other"] = ~known & (predictions.labels == index)
    return {name: mask for name, mask in subsets.items() if mask.any()}


def subset_table(predictions: Predictions, subsets: Mapping[str, NDArray[np.bool_]]) -> pd.DataFrame:
    """Accuracy on subsets of a set, and how many images are predicted as healthy there.

    Args:
        predictions: of the whole set.
        subsets: for each its name and (images,), True where an image belongs to it. Subsets may overlap.

    Returns:
        A row a subset: `subset`, `images`, `groups`, `correct`, `accuracy` with `low` and `high`, and
        `predicted_healthy`, a number of images; NaN where a subset is empty.
    """
    rows: list[dict[str, Any]] = []
    for name, mask in subsets.items():
        subset = predictions.subset(mask)
        row = {"subset": name, **subset.sizes, "correct": int(subset.correct.sum())}
        row |= zip(("accuracy", "low", "high"), share(subset.correct, subset), strict=True)
        rows.append(row | {"predicted_healthy": int((subset.predicted == HEALTHY_INDEX).sum())})
    return pd.DataFrame(rows)


def binary_table(guesses: Mapping[str, Floats], truth: NDArray[np.bool_], of: Predictions) -> pd.DataFrame:
    """How well guesses separate two classes.

    Args:
        guesses: for each name (images, 2), probability of no and of yes.
        truth: (images,), True for yes.
        of: gives the groups of the images, and the seed.

    Returns:
        A row a name: `features`, `images` and their independent `groups`, `auroc` and `balanced_accuracy`, each with
        its `_low` and `_high`.
    """
    rows: list[dict[str, Any]] = []
    for name, guess in guesses.items():
        estimate = bootstrap(partial(overall_scores, guess, truth.astype(np.int64)), of.groups, of.seed)
        row: dict[str, Any] = {"features": name, **of.sizes}
        for score in ("auroc", "balanced_accuracy"):
            values = (end[OVERALL.index(score)] for end in estimate)
            row |= zip((score, f"{score}_low", f"{score}_high"), values, strict=True)
        rows.append(row)
    return pd.DataFrame(rows)


def share(hits: NDArray[np.bool_] | Floats, of: Predictions) -> tuple[float, float, float]:
    """Share of images that are hits, or their mean, with its interval over groups; NaN without images."""
    if not len(hits):
        return np.nan, np.nan, np.nan

    def statistic(weights: Floats) -> Floats:
        shares: Floats = weights @ hits / weights.sum(axis=1)
        return shares

    value, low, high = map(float, bootstrap(statistic, of.groups, of.seed))
    return value, low, high
