"""Score the model on the test images."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES, published_copies, read_split
from brain_tumor.evaluation.metrics import accuracy_by, classification_text, confusion, evaluate
from brain_tumor.files import atomic_file, write_json, write_text
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.predict import predict
from brain_tumor.plots import confusion_matrix, save, training_curves
from brain_tumor.stage import stage
from brain_tumor.training.features import open_cache

log = logging.getLogger(__name__)


@stage
def main() -> None:
    test = open_arrays(Path("data/arrays")).test
    classifier = load_classifier(Path("models/model.safetensors"))
    probabilities = predict(classifier, open_cache().compute(classifier, test.images))
    scored = (probabilities, test.labels)

    copied = test.index["path"].isin(published_copies(read_split(Path("data/split.csv")))).to_numpy()
    scores = evaluate(*scored, CLASSES) | accuracy_by(*scored, {"with_copy": copied, "without_copy": ~copied})
    write_json(Path("metrics/evaluate.json"), scores)

    text = classification_text(*scored, CLASSES)
    log.info("%s", text)
    write_text(Path("metrics/classification_report.txt"), text)

    names = np.array(CLASSES)
    predictions = pd.DataFrame({"path": test.index["path"], "actual": names[test.labels]})
    predictions["predicted"] = names[probabilities.argmax(axis=1)]
    predictions[list(CLASSES)] = probabilities.round(6)
    with atomic_file(Path("plots/predictions.csv")) as temporary:
        predictions.to_csv(temporary, index=False)
    save(confusion_matrix(confusion(*scored, CLASSES), CLASSES), Path("plots/confusion_matrix.png"))
    # Drawn here and not by the train stage, which would have to run again when a plot changes.
    save(training_curves(pd.read_csv("plots/history.csv")), Path("plots/training_curves.png"))


if __name__ == "__main__":
    main()
