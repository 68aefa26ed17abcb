"""Score the model on the test images."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.annotations import read_outlines, read_slices
from brain_tumor.data.arrays import Part, open_arrays
from brain_tumor.data.catalog import CLASSES, read_split
from brain_tumor.data.images import Pixels, read_images
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.data.protocols import joined_by_patient
from brain_tumor.evaluation.blanking import blank_out, elsewhere
from brain_tumor.evaluation.calibration import calibrated
from brain_tumor.evaluation.confound import file_features, guess_tumour, histogram, surroundings
from brain_tumor.evaluation.curves import precision_recall_curves, roc_curves
from brain_tumor.evaluation.metrics import classification_text, confusion
from brain_tumor.evaluation.summary import (
    calibration_table,
    confusion_table,
    headline,
    parts_of,
    selective_table,
    set_table,
    surest_mistakes,
)
from brain_tumor.evaluation.tables import (
    SOURCE_COLUMNS,
    Predictions,
    binary_table,
    blanking_rows,
    class_table,
    overall_table,
    part_table,
    source_table,
)
from brain_tumor.files import atomic_file, write_json, write_text
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.predict import logits
from brain_tumor.params import load_params
from brain_tumor.plots import save
from brain_tumor.score_plots import (
    accuracy_of_parts,
    confusion_matrix,
    mistakes_sheet,
    ranking_curves,
    reliability_diagram,
    risk_coverage_curve,
    training_curves,
)
from brain_tumor.stage import stage
from brain_tumor.training.features import open_cache

RAW, PLOTS = Path("data/raw"), Path("plots")
HEALTHY = CLASSES.index("notumor")
MISTAKES = 24

log = logging.getLogger(__name__)


@stage
def main() -> None:
    seed = load_params().seed
    arrays = open_arrays(Path("data/arrays"))
    split = read_split(Path("data/split.csv"))
    classifier = load_classifier(Path("models/model.safetensors"))
    description = classifier.description

    def logits_of(images: Pixels) -> NDArray[np.float64]:
        return logits(classifier, open_cache().compute(classifier, images))

    def probabilities_of(images: Pixels) -> NDArray[np.float64]:
        return calibrated(logits_of(images), description.temperature)

    raw_logits = logits_of(arrays.test.images)
    units = joined_by_patient(split).set_axis(split["path"])
    groups = arrays.test.index["path"].map(units).to_numpy(str)
    after = calibrated(raw_logits, description.temperature)
    predictions = Predictions(after, arrays.test.labels, CLASSES, groups, seed)

    bins, errors = calibration_table(calibrated(raw_logits, 1.0), after, predictions.labels)
    write("reliability.csv", bins)
    save(reliability_diagram(bins, errors), PLOTS / "reliability.png")
    sets = set_table(predictions, description.prediction_sets)
    write("prediction_sets.csv", sets)
    curve, selective = selective_table(predictions)
    write("risk_coverage.csv", curve)
    save(risk_coverage_curve(curve, selective), PLOTS / "risk_coverage.png")
    overall = overall_table(predictions)
    write("scores.csv", overall)
    write("scores_by_class.csv", class_table(predictions))
    slices = read_slices(RAW)
    if slices is None:
        log.info("no annotations in %s: scores by source are not given, nor what blanked-out tumours do", RAW)
    annotated = set() if slices is None else set(slices["image"])
    parts = part_table(predictions, parts_of(arrays.test.index["path"], predictions, split, annotated), HEALTHY)
    write("scores_by_part.csv", parts)
    save(accuracy_of_parts(parts), PLOTS / "scores_by_part.png")

    write_predictions(predictions, arrays.test)
    write_confound(arrays.train, arrays.test, predictions)
    write_blanked(arrays.test, predictions, probabilities_of)
    # Drawn here and not by the train stage, which would have to run again when a plot changes.
    save(training_curves(pd.read_csv(PLOTS / "history.csv")), PLOTS / "training_curves.png")
    scores = headline(overall, parts, sets, errors, selective, description.temperature)
    sources = pd.DataFrame(columns=list(SOURCE_COLUMNS))
    if arrays.new_sources is not None:
        further = arrays.new_sources.index
        groups = further["path"].map(units).to_numpy(str)
        held_back = probabilities_of(arrays.new_sources.images)
        sources = source_table(held_back, further["class"].to_numpy(str), groups, HEALTHY, seed)
    write("new_sources.csv", sources)
    called = {f"new_sources_{row['class']}": row["called_rightly"] for row in sources.to_dict("records")}
    write_json(Path("metrics/evaluate.json"), scores | called)


def write_predictions(predictions: Predictions, test: Part) -> None:
    """Every prediction, which classes are confused, curves of each class, and the surest mistakes."""
    values = predictions.probabilities, predictions.labels
    text = classification_text(*values, CLASSES)
    log.info("%s", text)
    write_text(Path("metrics/classification_report.txt"), text)
    names = np.array(CLASSES)
    table = pd.DataFrame({"path": test.index["path"], "actual": names[predictions.labels]})
    table["predicted"] = names[predictions.probabilities.argmax(axis=1)]
    table[list(CLASSES)] = predictions.probabilities.round(6)
    write("predictions.csv", table)
    write("confusion.csv", confusion_table(predictions))
    save(confusion_matrix(confusion(*values), CLASSES), PLOTS / "confusion_matrix.png")
    roc, precision_recall = roc_curves(*values, CLASSES), precision_recall_curves(*values, CLASSES)
    write("roc.csv", roc)
    write("precision_recall.csv", precision_recall)
    save(ranking_curves(roc, precision_recall, CLASSES), PLOTS / "ranking_curves.png")
    rows = surest_mistakes(predictions, MISTAKES)
    surest = predictions.probabilities.max(axis=1)
    captions = [
        f"is {row['actual']}\ncalled {row['predicted']}, p = {surest[number]:.3f}"
        for number, row in zip(rows, table.iloc[rows].to_dict("records"), strict=True)
    ]
    save(mistakes_sheet([test.images[row] for row in rows], captions), PLOTS / "surest_mistakes.png")


def write_confound(train: Part, test: Part, predictions: Predictions) -> None:
    """How well tumour is told from no tumour by files, surroundings and grey values alone."""
    originals = train.index["copy"].to_numpy() == 0
    paths = [[RAW / path for path in index["path"]] for index in (train.index[originals], test.index)]
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
    write("confound.csv", binary_table(guesses, predictions.labels != HEALTHY, predictions))


def write_blanked(
    test: Part, predictions: Predictions, probabilities_of: Callable[[Pixels], NDArray[np.float64]]
) -> None:
    """What rightly found tumours are called when they are filled with their surroundings."""
    size = test.images.shape[1]
    rows, masks = masks_at_model_size(read_outlines(RAW), test.index["path"].tolist(), test.frames, size)
    found = predictions.right[rows] & (predictions.labels[rows] != HEALTHY)
    chosen, masks = rows[found], masks[found]
    if not len(chosen):
        write("blanked.csv", pd.DataFrame(columns=["blanked", "class", "images"]))
        return
    images, before = test.images[chosen], predictions.part(np.isin(np.arange(len(test)), chosen))
    mirrored, clear = elsewhere(masks)
    tables = [blanking_rows("the tumour", before, probabilities_of(blank_out(images, masks)), HEALTHY)]
    if clear.any():
        control = probabilities_of(blank_out(images[clear], mirrored[clear]))
        tables.append(blanking_rows("the same place on the other side", before.part(clear), control, HEALTHY))
    write("blanked.csv", pd.concat(tables))


def write(name: str, table: pd.DataFrame) -> None:
    """Write a table below `plots/`, whole or not at all."""
    with atomic_file(PLOTS / name) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
