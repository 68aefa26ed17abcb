"""Score the model on the test images."""

from brain_tumor.stage import stage

import logging
from functools import partial
from pathlib import Path

import pandas as pd

from brain_tumor.data.annotations import read_outlines, read_slices
from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES, read_split
from brain_tumor.evaluation.metrics import classification_text
from brain_tumor.evaluation.study import headline, mistakes, study
from brain_tumor.figures import scores
from brain_tumor.figures.sheets import mistakes_sheet
from brain_tumor.figures.style import save
from brain_tumor.files import write_csv, write_json
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.model.predict import logits
from brain_tumor.params import load_params

RAW, SPLIT, ARRAYS = Path("data/raw"), Path("data/split.csv"), Path("data/arrays")
MODEL, HISTORY = Path("models/model.safetensors"), Path("plots/history.csv")
PLOTS, METRICS = Path("plots"), Path("metrics/evaluate.json")

log = logging.getLogger(__name__)


@stage
def main() -> None:
    seed, arrays, split, slices = load_params().seed, open_arrays(ARRAYS), read_split(SPLIT), read_slices(RAW)
    if slices is None:
        log.info("no patients in %s: scores by source are left out", RAW)
    annotated = set() if slices is None else set(slices["image"])
    classifier = load_classifier(MODEL)
    description, outlines = classifier.description, read_outlines(RAW)
    if not outlines:
        log.info("no outlines in %s: what becomes of removed lesions is left out", RAW)
    ask = partial(logits, classifier, cache=open_cache())
    numbers = description.temperature, description.prediction_sets, description.volume_threshold
    result = study(ask, *numbers, arrays, split, RAW, annotated, outlines, seed)
    tables, predictions = result.tables, result.predictions

    for name, table in tables.items():
        write_csv(PLOTS / f"{name}.csv", table)
    figures = {
        "confusion_matrix": scores.confusion_matrix(tables["confusion"]),
        "ranking_curves": scores.ranking_curves(tables["roc"], tables["precision_recall"]),
        "reliability": scores.reliability_diagram(tables["reliability"], result.calibration_errors),
        "risk_coverage": scores.risk_coverage_curve(tables["risk_coverage"], result.answered),
        "scores_by_subset": scores.accuracy_by_subset(tables["scores_by_subset"]),
        "surest_mistakes": mistakes_sheet(*mistakes(predictions, arrays.test.images)),
        # Drawn here and not by the train stage, which would have to run again when a plot changes.
        "training_curves": scores.training_curves(pd.read_csv(HISTORY)),
    }
    for name, figure in figures.items():
        save(figure, PLOTS / f"{name}.png")
    write_json(METRICS, headline(result))
    log.info("%s", classification_text(predictions.probabilities, predictions.labels, CLASSES))


if __name__ == "__main__":
    main()
