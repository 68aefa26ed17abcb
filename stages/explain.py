"""Show what the model looks at: maps of all test images, what they are worth, and pictures of some."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from brain_tumor.data.annotations import read_outlines
from brain_tumor.data.arrays import open_arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.explanation.faithfulness import deletion_insertion, deletion_insertion_summary, probability_of
from brain_tumor.explanation.gradcam import METHODS
from brain_tumor.explanation.heat import Maps
from brain_tumor.explanation.localization import localization_summary, localization_table, outside_head
from brain_tumor.explanation.sample import Explanation, choose, explain, explain_all, fixed_sample, maps_summary
from brain_tumor.explanation.sanity import randomization_curve, randomization_summary
from brain_tumor.explanation.summary import headline
from brain_tumor.figures.map_scores import deletion_insertion_figure, localization_figure, randomization_figure
from brain_tumor.figures.maps import gradcam_overview, gradcam_picture
from brain_tumor.figures.style import save
from brain_tumor.files import atomic_folder, list_of, write_json, write_text
from brain_tumor.model.classifier import load_classifier
from brain_tumor.model.features import open_cache
from brain_tumor.model.predict import predict
from brain_tumor.params import load_params
from brain_tumor.stage import stage

log = logging.getLogger(__name__)

SAMPLE = 48
"""Images for the scores that need the network many times; of a small test set an eighth, so that it stays quick."""


@stage
def main() -> None:
    params = load_params()
    test = open_arrays(Path("data/arrays")).test
    classifier = load_classifier(Path("models/model.safetensors"))
    features = open_cache().compute(classifier, test.images)
    probabilities = predict(classifier, features)
    method = METHODS[params.explain.method]

    def maps_of(rows: NDArray[np.int64], targets: NDArray[np.int64]) -> Maps:
        batch = features.gather(rows)
        return method(classifier.activations, classifier.classify, batch, torch.from_numpy(targets.copy()))

    paths, called = test.index["path"].tolist(), probabilities.argmax(axis=1)
    right = called == test.labels
    maps = explain_all(called, maps_of)
    annotated, masks = masks_at_model_size(read_outlines(Path("data/raw")), paths, test.frames, test.images.shape[1])
    if not len(annotated):
        log.info("localization: left out, no test image has an outline (see download.annotations in params.yaml)")
    localization = localization_table(
        maps[annotated], masks, test.index["class"].iloc[annotated].tolist(), right[annotated], params.seed
    )
    rows = fixed_sample(paths, min(SAMPLE, max(2, len(paths) // 8)))
    sample, targets = test.images[rows], called[rows]
    randomization = randomization_curve(classifier, sample, targets, method, params.seed)
    games = deletion_insertion(
        probability_of(classifier), sample, targets, maps[rows], np.random.default_rng(params.seed)
    )
    write_tables(localization, randomization, games)

    choices = choose(paths, test.labels, called, CLASSES, params.explain.images_per_class)
    write_pictures(explain(choices, test.images, probabilities, CLASSES, maps_of))
    scores = {
        "outside_head": outside_head(maps, test.images),
        "randomization": randomization_summary(randomization),
        **deletion_insertion_summary(games),
        **maps_summary(maps, right),
    }
    if len(annotated):
        scores["localization"] = localization_summary(localization)
    write_table("map_scores", list_of(scores))
    write_json(Path("metrics/explain.json"), headline(scores))


def write_tables(localization: pd.DataFrame, randomization: pd.DataFrame, games: pd.DataFrame) -> None:
    tables = {"localization": localization, "randomization": randomization, "deletion_insertion": games}
    for name, table in tables.items():
        write_table(name, table)
    with atomic_folder(Path("plots/explain")) as folder:
        if len(localization):
            save(localization_figure(localization), folder / "localization.png")
        save(randomization_figure(randomization), folder / "randomization.png")
        save(deletion_insertion_figure(games), folder / "deletion_insertion.png")


def write_table(name: str, table: pd.DataFrame) -> None:
    write_text(Path(f"plots/{name}.csv"), table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))


def write_pictures(explanations: list[Explanation]) -> None:
    with atomic_folder(Path("plots/gradcam")) as folder:
        for explanation in explanations:
            save(gradcam_picture(explanation), folder / explanation.name)
        save(gradcam_overview(explanations, CLASSES), folder / "overview.png")


if __name__ == "__main__":
    main()
