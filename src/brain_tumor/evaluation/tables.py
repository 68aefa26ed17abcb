"""The tables that the evaluation leaves behind: scores with intervals, of the whole set and of its parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import HEALTHY
from brain_tumor.evaluation.intervals import bootstrap
from brain_tumor.evaluation.metrics import BY_CLASS, OVERALL, class_scores, overall_scores, tumour_sensitivity

Floats = NDArray[np.float64]


EXTERNAL_COLUMNS = ("class", "images", "groups", "correct", "low", "high")


@dataclass(frozen=True)
class Predictions:
    """What a classifier said about a set of images.

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
    def correct(self) -> NDArray[np.bool_]:
        """(images,), whether the largest probability is that of the true class."""
        called: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return called

    def subset(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Those of the images where `mask` is True."""
        return Predictions(self.probabilities[mask], self.labels[mask], self.classes, self.groups[mask], self.seed)


def overall_table(predictions: Predictions) -> pd.DataFrame:
    """Scores of the whole set, a row a score of `OVERALL`: `score`, `value`, `low`, `high`."""

    def statistic(weights: Floats) -> Floats:
        return overall_scores(predictions.probabilities, predictions.labels, weights)

    estimate = bootstrap(statistic, predictions.groups, predictions.seed)
    return pd.DataFrame({"score": OVERALL, **estimate._asdict()})


def class_table(predictions: Predictions) -> pd.DataFrame:
    """Scores of each class against all others, a row a class and score of `BY_CLASS`.

    Columns: `class`, its `images` and independent `groups`, `score`, `value`, `low`, `high`.
    """

    def statistic(weights: Floats) -> Floats:
        return class_scores(predictions.probabilities, predictions.labels, weights)

    estimate = bootstrap(statistic, predictions.groups, predictions.seed)
    rows = []
    for index, name in enumerate(predictions.classes):
        part = predictions.subset(predictions.labels == index)
        sizes = {"class": name, "images": len(part.labels), "groups": len(np.unique(part.groups))}
        for number, score in enumerate(BY_CLASS):
            place = index, number
            ends = {name: values[place] for name, values in estimate._asdict().items()}
            rows.append(sizes | {"score": score} | ends)
    return pd.DataFrame(rows)


def subset_table(predictions: Predictions, parts: Mapping[str, NDArray[np.bool_]], healthy: int) -> pd.DataFrame:
    """Accuracy on parts of a set, and how many are called healthy there.

    Args:
        predictions: of the whole set.
        parts: for each its name and (images,), True where an image belongs to it. Parts may overlap.
        healthy: index of the class without tumour.

    Returns:
        A row a part: `part`, `images`, `groups`, `correct`, `accuracy` with `low` and `high`, and `predicted_healthy`, a
        number of images; NaN where a part is empty.

    Raises:
        ValueError: a mask of another length or type.
    """
    rows: list[dict[str, Any]] = []
    for name, mask in parts.items():
        if mask.dtype != np.bool_ or mask.shape != predictions.labels.shape:
            raise ValueError(f"part {name}: {mask.dtype} {mask.shape}, expected bool {predictions.labels.shape}")
        part = predictions.subset(mask)
        rows.append(
            {
                "subset": name,
                "images": len(part.labels),
                "groups": len(np.unique(part.groups)),
                "correct": int(part.correct.sum()),
                **dict(zip(("accuracy", "low", "high"), share(part.correct, part), strict=True)),
                "predicted_healthy": int((part.probabilities.argmax(axis=1) == healthy).sum()),
            }
        )
    return pd.DataFrame(rows)


def external_table(
    probabilities: Floats, classes: NDArray[np.str_], groups: NDArray[np.str_], healthy: int, seed: int
) -> pd.DataFrame:
    """How pictures of new sources are called: tumours a tumour of any type, and healthy heads healthy.

    Args:
        probabilities: (images, classes).
        classes: (images,), names; `notumor` is healthy, every other name a tumour.
        groups: (images,), equal for images that depend on one another.
        healthy: column of the class without tumour.
        seed: of the intervals.

    Returns:
        A row a class, `EXTERNAL_COLUMNS`; `correct` is the sensitivity to tumours, or for healthy heads the
        specificity, and `low` and `high` its interval.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted(set(classes.tolist())):
        chosen = classes == name

        def statistic(weights: Floats, values: Floats = probabilities[chosen], name: str = name) -> Floats:
            predicted_tumour = tumour_sensitivity(values, healthy, weights)[:, 0]
            return 1 - predicted_tumour if name == HEALTHY else predicted_tumour

        estimate = bootstrap(statistic, groups[chosen], seed)
        sizes = name, int(chosen.sum()), len(set(groups[chosen]))
        rows.append(dict(zip(EXTERNAL_COLUMNS, (*sizes, *map(float, estimate)), strict=True)))
    return pd.DataFrame(rows)


def binary_table(guesses: Mapping[str, Floats], truth: NDArray[np.bool_], of: Predictions) -> pd.DataFrame:
    """How well guesses tell two classes apart.

    Args:
        guesses: for each name (images, 2), probability of no and of yes.
        truth: (images,), True for yes.
        of: gives the groups of the images, and the seed.

    Returns:
        A row a name: `features`, `images` and their independent `groups`, `auroc` and `balanced_accuracy`, each with
        its `_low` and `_high`.
    """
    labels = truth.astype(np.int64)
    rows = []
    for name, guess in guesses.items():

        def statistic(weights: Floats, guess: Floats = guess) -> Floats:
            overall = overall_scores(guess, labels, weights)
            return overall[:, [OVERALL.index("auroc"), OVERALL.index("balanced_accuracy")]]

        estimate = bootstrap(statistic, of.groups, of.seed)
        row: dict[str, Any] = {"features": name, "images": len(labels), "groups": len(np.unique(of.groups))}
        for number, score in enumerate(("auroc", "balanced_accuracy")):
            names = (score, f"{score}_low", f"{score}_high")
            row |= dict(zip(names, (values[number] for values in estimate), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def lesion_removal_rows(name: str, before: Predictions, after: Floats, healthy: int) -> pd.DataFrame:
    """What becomes of predictions when something is taken out of the pictures.

    Args:
        name: of what was taken out.
        before: of the whole pictures, all of them right.
        after: (images, classes), of the changed pictures.
        healthy: index of the class without tumour.

    Returns:
        A row a class with images, then one for all: `lesion_removed` (the name), `class`, `images`, `groups`, `kept` (share
        whose prediction stays) and `healthy` (share then called so), with intervals, and `drop` (mean fall of the
        probability of the true class).
    """
    called = after.argmax(axis=1)
    own = np.arange(len(after)), before.labels
    drop = before.probabilities[own] - after[own]
    masks = {label: before.labels == index for index, label in enumerate(before.classes)}
    rows: list[dict[str, Any]] = []
    for label, mask in (masks | {"all": np.ones(len(after), bool)}).items():
        if not mask.any():
            continue
        part = before.subset(mask)
        row = {
            "lesion_removed": name,
            "class": label,
            "images": len(part.labels),
            "groups": len(np.unique(part.groups)),
        }
        for word, hits in (("kept", called == before.labels), ("healthy", called == healthy)):
            row |= dict(zip((word, f"{word}_low", f"{word}_high"), share(hits[mask], part), strict=True))
        rows.append(row | {"drop": drop[mask].mean()})
    return pd.DataFrame(rows)


def share(hits: NDArray[np.bool_], of: Predictions) -> tuple[float, float, float]:
    """Share of images that are hits, with its interval over groups; NaN without images."""
    if not len(hits):
        return np.nan, np.nan, np.nan

    def statistic(weights: Floats) -> Floats:
        shares: Floats = weights @ hits / weights.sum(axis=1)
        return shares

    value, low, high = map(float, bootstrap(statistic, of.groups, of.seed))
    return value, low, high
