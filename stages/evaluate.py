"""Score the model on the test images."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.annotations import read_outlines, read_slices
from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES, read_split
from brain_tumor.data.images import Pixels
from brain_tumor.evaluation.metrics import classification_text
from brain_tumor.evaluation.summary import (
    calibration_table,
    confidence_table,
    headline,
    selective_table,
    set_table,
    subsets_of,
)
from brain_tumor.evaluation.tables import Predictions, class_table, overall_table, subset_table
from brain_tumor.figures.scores import accuracy_by_subset, reliability_diagram, risk_coverage_curve, training_curves
from brain_tumor.figures.style import save
from brain_tumor.files import write_json, write_text
from brain_tumor.model.calibration import calibrated
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.model.predict import logits
from brain_tumor.params import load_params
from brain_tumor.score_files import (
    HEALTHY,
    hemispheres_told_apart,
    write_external,
    write_lesion_removed,
    write_predictions,
    write_shortcuts,
    write_table,
)
from brain_tumor.split.protocols import joined_by_patient
from brain_tumor.stage import stage

RAW, PLOTS = Path("data/raw"), Path("plots")

log = logging.getLogger(__name__)


@stage
def main() -> None:
    seed = load_params().seed
    arrays = open_arrays(Path("data/arrays"))
    split = read_split(Path("data/split.csv"))
    classifier = load_classifier(Path("models/model.safetensors"))
    description, cache = classifier.description, open_cache()

    def logits_of(images: Pixels) -> NDArray[np.float64]:
        return logits(classifier, images, cache)

    def probabilities_of(images: Pixels) -> NDArray[np.float64]:
        return calibrated(logits_of(images), description.temperature)

    raw_logits = logits_of(arrays.test.images)
    units = joined_by_patient(split).set_axis(split["path"])
    groups = arrays.test.index["path"].map(units).to_numpy(str)
    after = calibrated(raw_logits, description.temperature)
    predictions = Predictions(after, arrays.test.labels, CLASSES, groups, seed)

    bins, errors = calibration_table(calibrated(raw_logits, 1.0), after, predictions.labels)
    write_table(PLOTS / "reliability.csv", bins)
    save(reliability_diagram(bins, errors), PLOTS / "reliability.png")
    sets = set_table(predictions, description.prediction_sets)
    write_table(PLOTS / "prediction_sets.csv", sets)
    curve, selective = selective_table(predictions)
    write_table(PLOTS / "risk_coverage.csv", curve)
    save(risk_coverage_curve(curve, selective), PLOTS / "risk_coverage.png")
    overall = overall_table(predictions)
    write_table(PLOTS / "scores.csv", overall)
    write_table(PLOTS / "scores_by_class.csv", class_table(predictions))
    slices = read_slices(RAW)
    if slices is None:
        log.info("no annotations in %s: scores by source are not given, nor what lesion_removed-out tumours do", RAW)
    annotated = set() if slices is None else set(slices["image"])
    parts = subset_table(predictions, subsets_of(arrays.test.index["path"], predictions, split, annotated), HEALTHY)
    write_table(PLOTS / "scores_by_subset.csv", parts)
    save(accuracy_by_subset(parts), PLOTS / "scores_by_subset.png")

    text = classification_text(after, predictions.labels, CLASSES)
    log.info("%s", text)
    write_text(Path("metrics/classification_report.txt"), text)
    write_predictions(PLOTS, predictions, arrays.test)
    outlines = read_outlines(RAW)
    halves = hemispheres_told_apart(outlines, arrays.test, predictions, probabilities_of)
    write_shortcuts(PLOTS, RAW, arrays, predictions, annotated, halves)
    write_lesion_removed(PLOTS, outlines, arrays.test, predictions, probabilities_of)
    # Drawn here and not by the train stage, which would have to run again when a plot changes.
    save(training_curves(pd.read_csv(PLOTS / "history.csv")), PLOTS / "training_curves.png")
    write_table(PLOTS / "confidence.csv", confidence_table(sets, errors, selective, description.temperature))
    scores = headline(overall, parts)
    scores |= write_external(PLOTS, arrays.external, units, seed, probabilities_of)
    write_json(Path("metrics/evaluate.json"), scores)


if __name__ == "__main__":
    main()
