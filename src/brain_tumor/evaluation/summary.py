"""What the evaluation reports: the headline, the parts of the test set, sets, calibration, and the surest mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import TESTING, published_duplicates
from brain_tumor.evaluation.conformal import prediction_sets, set_sizes
from brain_tumor.evaluation.metrics import confusion
from brain_tumor.evaluation.reliability import expected_calibration_error, reliability
from brain_tumor.evaluation.selective import coverage_at, risk_coverage
from brain_tumor.evaluation.tables import Floats, Predictions

RISKS = (0.01, 0.02)

WITH_DUPLICATE, WITHOUT_DUPLICATE = "with a published copy", "without a published copy"


def subsets_of(
    paths: pd.Series, predictions: Predictions, split: pd.DataFrame, annotated: set[str]
) -> dict[str, NDArray[np.bool_]]:
    """The parts of the test images whose scores are told apart.

    Args:
        paths: of the test images.
        predictions: of the same images.
        split: `SPLIT_COLUMNS` of the whole set.
        annotated: paths of the images that are in the annotations; empty where there are none.

    Returns:
        For each name a mask over the test images: all; with and without a copy in the published training set; and
        each class in and out of the annotated collection, where annotations are there. In the main set that
        collection is Cheng's (figshare 1512427), and the others are from elsewhere.
    """
    copied = paths.isin(published_duplicates(split)).to_numpy(bool)
    published = paths.isin(split.loc[split["folder"] == TESTING, "path"]).to_numpy(bool)
    parts = {"all": np.ones(len(paths), bool), WITH_DUPLICATE: copied, WITHOUT_DUPLICATE: published & ~copied}
    if annotated:
        known = paths.isin(annotated).to_numpy(bool)
        for index, name in enumerate(predictions.classes):
            parts[f"{name}, annotated"] = known & (predictions.labels == index)
            parts[f"{name}, other"] = ~known & (predictions.labels == index)
    return {name: mask for name, mask in parts.items() if mask.any()}


def headline(overall: pd.DataFrame, parts: pd.DataFrame) -> dict[str, Any]:
    """The few numbers of `metrics/evaluate.json`; all others, and their intervals, are in tables of their own.

    Args:
        overall: as `overall_table` gives it.
        parts: as `subset_table` gives it, with a part `all`.

    Returns:
        Flat names and plain values; what is undefined is None.
    """
    part = parts.set_index("subset")
    whole: dict[Any, Any] = parts[parts["subset"] == "all"].to_dict("records")[0]
    values: dict[str, Any] = {
        "accuracy": whole["accuracy"],
        "accuracy_low": whole["low"],
        "accuracy_high": whole["high"],
        **{name.split(" ")[0] + "_copy": part["accuracy"].get(name) for name in (WITH_DUPLICATE, WITHOUT_DUPLICATE)},
        "auroc": overall.set_index("score")["value"]["auroc"],
    }
    return {name: None if pd.isna(value) else float(value) for name, value in values.items()}


def confidence_table(
    sets: pd.DataFrame, errors: Mapping[str, float], selective: Mapping[float, float], temperature: float
) -> pd.DataFrame:
    """How far the probabilities can be believed, as one list.

    Args:
        sets: as `set_table` gives it.
        errors: expected calibration error `before` and `after`.
        selective: for each allowed risk the coverage.
        temperature: of the model.

    Returns:
        `score` and `value`: calibration errors, temperature, coverage and size of the sets of each promise over all
        classes, and the share of images that can be answered at each of `RISKS`.
    """
    values = {"ece": errors["after"], "ece_before": errors["before"], "temperature": temperature}
    for row in sets[sets["class"] == "all"].to_dict("records"):
        promise = f"{row['promised']:.0%}".removesuffix("%")
        values |= {f"set_coverage_{promise}": row["coverage"], f"set_size_{promise}": row["mean_size"]}
    values |= {f"answered_at_{risk:.0%}".replace("%", "pc"): coverage for risk, coverage in selective.items()}
    return pd.DataFrame({"score": list(values), "value": list(values.values())})


def set_table(predictions: Predictions, thresholds: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """What the prediction sets hold on these images.

    Args:
        predictions: calibrated as those that gave the thresholds.
        thresholds: for each promised coverage, such as `"0.9"`, the threshold of each class.

    Returns:
        `promised` and the columns of `set_sizes`.
    """
    tables = []
    for promised, values in thresholds.items():
        sizes = set_sizes(prediction_sets(predictions.probabilities, values), predictions.labels, predictions.classes)
        tables.append(sizes.assign(promised=float(promised)))
    table = pd.concat(tables, ignore_index=True)
    return table[["promised", *(name for name in table.columns if name != "promised")]]


def calibration_table(
    before: Floats, after: Floats, labels: NDArray[np.int64]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Reliability in bins, `calibration` telling `before` from `after`; and the calibration error of either."""
    both = {"before": before, "after": after}
    bins = pd.concat([reliability(values, labels).assign(calibration=name) for name, values in both.items()])
    return bins, {name: expected_calibration_error(values, labels) for name, values in both.items()}


def selective_table(predictions: Predictions) -> tuple[pd.DataFrame, dict[float, float]]:
    """The curve of risk over coverage, and the coverage at each of `RISKS`."""
    curve = risk_coverage(predictions.probabilities, predictions.labels)
    return curve, {risk: coverage_at(curve, risk) for risk in RISKS}


def confusion_table(predictions: Predictions) -> pd.DataFrame:
    """A row a pair of classes: `actual`, `predicted`, `images`, and `share` of the actual class."""
    counts = confusion(predictions.probabilities, predictions.labels)
    support = counts.sum(axis=1)
    rows = [
        (actual, called, counts[row, column], counts[row, column] / support[row] if support[row] else np.nan)
        for row, actual in enumerate(predictions.classes)
        for column, called in enumerate(predictions.classes)
    ]
    return pd.DataFrame(rows, columns=["actual", "predicted", "images", "share"])


def surest_mistakes(predictions: Predictions, number: int) -> NDArray[np.intp]:
    """Rows of the wrong predictions with the largest probability, surest first; one of each group of copies."""
    order = np.argsort(-predictions.probabilities.max(axis=1), kind="stable")
    wrong = order[~predictions.correct[order]]
    _, first = np.unique(predictions.groups[wrong], return_index=True)
    return wrong[np.sort(first)][:number]
