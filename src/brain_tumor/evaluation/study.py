"""All that the evaluate stage reports of a classifier: metrics, tables, and what the figures need beside them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brain_tumor.data.annotations import Outline
from brain_tumor.data.arrays import Arrays, SplitArrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Pixels
from brain_tumor.evaluation.conformal import set_table
from brain_tumor.evaluation.curves import ranking_tables
from brain_tumor.evaluation.external import external_table
from brain_tumor.evaluation.hemispheres import hemisphere_table
from brain_tumor.evaluation.lesion_removal import lesion_removal_table
from brain_tumor.evaluation.metrics import classification_table
from brain_tumor.evaluation.reliability import expected_calibration_error, reliability
from brain_tumor.evaluation.selective import RISKS, coverage_at, risk_coverage
from brain_tumor.evaluation.shortcuts import shortcut_table
from brain_tumor.evaluation.tables import (
    WITH_DUPLICATE,
    WITHOUT_DUPLICATE,
    Floats,
    Predictions,
    class_table,
    confusion_table,
    overall_table,
    prediction_table,
    subset_table,
    subsets_of,
    surest_mistakes,
)
from brain_tumor.evaluation.volume_table import volume_table
from brain_tumor.model.calibration import calibrated
from brain_tumor.split.protocols import joined_by_patient

MISTAKES = 24
"""How many of the surest mistakes are shown."""


@dataclass(frozen=True)
class Study:
    """What the evaluation finds.

    Attributes:
        predictions: of the test images.
        tables: by the names of their files in `plots/`.
        calibration_errors: `before` and `after` calibration.
        answered: for each of `RISKS` the share of images that can be answered.
    """

    predictions: Predictions
    tables: Mapping[str, pd.DataFrame]
    calibration_errors: Mapping[str, float]
    answered: Mapping[float, float]


def study(
    logits: Callable[[Pixels], Floats],
    temperature: float,
    thresholds: Mapping[str, Sequence[float]],
    volume_threshold: float,
    arrays: Arrays,
    split: pd.DataFrame,
    raw: Path,
    annotated: Collection[str],
    outlines: Mapping[str, Outline],
    seed: int,
) -> Study:
    """Score a classifier on the test images, and on what shows where its score comes from.

    Args:
        logits: from images at model size to (images, classes).
        temperature: that calibrates them.
        thresholds: of the prediction sets, as for `set_table`.
        volume_threshold: as for `volume_table`.
        arrays: train, test and, if there are any, external images.
        split: `SPLIT_COLUMNS` of the whole set.
        raw: folder of the data set.
        annotated: paths of the images that are in the annotations.
        outlines: of tumours, by path.
        seed: of the intervals.
    """
    test, units = arrays.test, joined_by_patient(split).set_axis(split["path"])

    def ask(images: Pixels) -> Floats:
        return calibrated(logits(images), temperature)

    def predictions_of(images: SplitArrays, probabilities: Floats) -> Predictions:
        groups = images.index["path"].map(units).to_numpy(str)
        return Predictions(probabilities, images.labels, CLASSES, groups, seed)

    raw_logits = logits(test.images)
    by_calibration = {"before": calibrated(raw_logits, 1.0), "after": calibrated(raw_logits, temperature)}
    predictions = predictions_of(test, by_calibration["after"])
    errors = {name: expected_calibration_error(values, test.labels) for name, values in by_calibration.items()}
    external = predictions_of(arrays.external, ask(arrays.external.images)) if arrays.external else None
    external_paths = arrays.external.index["path"].tolist() if arrays.external else []
    paths = test.index["path"]
    tables = score_tables(predictions, paths.tolist(), thresholds)
    answered = {risk: coverage_at(tables["risk_coverage"], risk) for risk in RISKS}
    bins = [reliability(values, test.labels).assign(calibration=name) for name, values in by_calibration.items()]
    shortcuts = shortcut_table(raw, arrays, predictions, annotated)
    tables |= {
        "reliability": pd.concat(bins),
        "confidence": _confidence_table(tables["prediction_sets"], errors, answered, temperature),
        "scores_by_subset": subset_table(predictions, subsets_of(paths, predictions, split, annotated)),
        "shortcuts": pd.concat([shortcuts, hemisphere_table(outlines, test, predictions, ask)]),
        "lesion_removed": lesion_removal_table(outlines, test, predictions, ask),
        "external": external_table(external, [path.split("/")[1] for path in external_paths]),
        "volumes": volume_table(external, external_paths, volume_threshold),
    }
    return Study(predictions, tables, errors, answered)


def score_tables(
    predictions: Predictions, paths: Sequence[str], thresholds: Mapping[str, Sequence[float]]
) -> dict[str, pd.DataFrame]:
    """The tables that any labelled images can have; thresholds are those of `set_table`."""
    values = predictions.probabilities, predictions.labels
    roc, precision_recall = ranking_tables(*values, predictions.classes)
    return {
        "predictions": prediction_table(predictions, paths),
        "confusion": confusion_table(predictions),
        "classification_report": classification_table(*values, predictions.classes),
        "scores": overall_table(predictions),
        "scores_by_class": class_table(predictions),
        "roc": roc,
        "precision_recall": precision_recall,
        "risk_coverage": risk_coverage(*values),
        "prediction_sets": set_table(*values, predictions.classes, thresholds),
    }


def mistakes(predictions: Predictions, images: Pixels) -> tuple[list[Pixels], list[str]]:
    """The surest mistakes among the images (images, size, size), and what to write above each."""
    rows = surest_mistakes(predictions, MISTAKES)
    names, surest = predictions.classes, predictions.probabilities.max(axis=1)
    captions = [
        f"true: {names[predictions.labels[row]]}\npredicted: {names[predictions.predicted[row]]}\np = {surest[row]:.3f}"
        for row in rows
    ]
    return [images[row] for row in rows], captions


def headline(result: Study) -> dict[str, Any]:
    """The numbers of `metrics/evaluate.json`; the tables hold their intervals and all others.

    Returns:
        Scores of the test images by name, then `external`, AUROC, sensitivity and specificity of tumour against none
        for each collection, and `classes`, precision, recall and F1 of each. What is undefined is None.
    """
    scores = result.tables["scores"].set_index("score")
    subsets = result.tables["scores_by_subset"].set_index("subset")["accuracy"]
    external = result.tables["external"].set_index("collection")[["auroc", "sensitivity", "specificity"]]
    ratios = result.tables["classification_report"].set_index("class").loc[list(CLASSES), ["precision", "recall", "f1"]]
    values = {
        "accuracy": scores["value"]["accuracy"],
        "accuracy_low": scores["low"]["accuracy"],
        "accuracy_high": scores["high"]["accuracy"],
        **{name: scores["value"][name] for name in ("balanced_accuracy", "macro_f1", "auroc")},
        "calibration_error": result.calibration_errors["after"],
        "accuracy_with_duplicate": subsets.get(WITH_DUPLICATE),
        "accuracy_without_duplicate": subsets.get(WITHOUT_DUPLICATE),
    }
    nested = {"external": external, "classes": ratios}
    return _defined(values) | {
        name: {row: _defined(scores) for row, scores in table.to_dict("index").items()}
        for name, table in nested.items()
    }


def _confidence_table(
    sets: pd.DataFrame, errors: Mapping[str, float], answered: Mapping[float, float], temperature: float
) -> pd.DataFrame:
    """How far the probabilities can be believed, as one list: `score` and `value`."""
    values = {
        "calibration_error": errors["after"],
        "calibration_error_before": errors["before"],
        "temperature": temperature,
    }
    for row in sets[sets["class"] == "all"].to_dict("records"):
        promise = f"{100 * row['promised']:.0f}"
        values |= {f"set_coverage_{promise}": row["coverage"], f"set_size_{promise}": row["mean_size"]}
    values |= {f"answered_at_{100 * risk:.0f}pc": coverage for risk, coverage in answered.items()}
    return pd.DataFrame({"score": list(values), "value": list(values.values())})


def _defined(values: Mapping[Any, Any]) -> dict[Any, float | None]:
    return {name: None if value is None or np.isnan(value) else float(value) for name, value in values.items()}
