"""What the explain stage shows of a model: scores of the maps of all test images, and some of them to look at."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from brain_tumor.data.annotations import Outline
from brain_tumor.data.arrays import SplitArrays, batches
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.explanation.faithfulness import deletion_insertion, deletion_insertion_summary
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.explanation.heat import Heat
from brain_tumor.explanation.localization import headline, localization_table, outside_head
from brain_tumor.explanation.sample import Explanation, choose, explain, fixed_sample, maps_summary
from brain_tumor.explanation.sanity import randomization_curve, randomization_summary
from brain_tumor.files import list_of
from brain_tumor.model.calibration import calibrated
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import FeatureCache, Features
from brain_tumor.model.predict import probabilities

SAMPLE = 32
"""Images for the scores that need the network many times; of a small test set an eighth, so that it stays quick."""


class Study(NamedTuple):
    """What there is to write.

    Attributes:
        tables: by name: `localization`, `randomization`, `deletion_insertion`, `map_scores`.
        headline: of `metrics/explain.json`.
        explanations: of the chosen predictions.
    """

    tables: dict[str, pd.DataFrame]
    headline: dict[str, Any]
    explanations: list[Explanation]


def study(
    classifier: Classifier,
    cache: FeatureCache,
    test: SplitArrays,
    outlines: Mapping[str, Outline],
    method: str,
    images_per_class: int,
    seed: int,
) -> Study:
    """Explain the predictions of all test images, and score the maps.

    Args:
        classifier: in evaluation mode.
        cache: of the output of its frozen layers.
        test: at least one image; not every class needs one.
        outlines: by path; none is needed.
        method: one of `gradcam.METHODS`.
        images_per_class: how many correct and how many wrong predictions of each class are drawn at most.
        seed: of the baselines and of random weights.
    """
    features = cache.compute(classifier, test.images)

    def maps_of(rows: NDArray[np.int64], targets: NDArray[np.int64]) -> Heat:
        batch, classes = features.gather(rows), torch.from_numpy(targets.copy())
        return grad_cam(classifier.activations, classifier.classify, batch, classes, method)

    answers, maps = predictions_and_maps(classifier, features, method)
    paths, predicted = test.index["path"].tolist(), answers.argmax(axis=1)
    correct = predicted == test.labels
    annotated, masks = masks_at_model_size(outlines, paths, test.frames, test.images.shape[1])
    labels = test.index["class"].iloc[annotated].tolist()
    localization = localization_table(maps[annotated], masks, labels, correct[annotated], seed)

    rows = fixed_sample(paths, min(SAMPLE, max(2, len(paths) // 8)))
    sample, targets = test.images[rows], predicted[rows]
    randomization = randomization_curve(classifier, sample, targets, method, seed)
    rng = np.random.default_rng(seed)
    games = deletion_insertion(partial(probabilities, classifier), sample, targets, maps[rows], rng)

    outside = outside_head(maps, test.images)
    scores = {
        "outside_head": outside,
        "randomization": randomization_summary(randomization),
        **deletion_insertion_summary(games),
        **maps_summary(maps, correct),
    }
    tables = {
        "localization": localization,
        "randomization": randomization,
        "deletion_insertion": games,
        "map_scores": list_of(scores),
    }
    chosen = choose(paths, test.labels, predicted, CLASSES, images_per_class)
    explanations = explain(chosen, test.images, test.labels, answers, CLASSES, maps_of)
    return Study(tables, headline(outside["mass"], localization), explanations)


def predictions_and_maps(classifier: Classifier, features: Features, method: str) -> tuple[NDArray[np.float64], Heat]:
    """Probabilities (images, classes), and the maps (images, height, width) of the predicted classes.

    The network is passed once for both.
    """
    scores, maps = [], []
    for rows in batches(len(features)):
        with torch.no_grad():
            activations = classifier.activations(features.gather(rows))
            logits = classifier.classify(activations.clone())  # a copy, because modules may work in place
        scores.append(logits.double().numpy())
        maps.append(grad_cam(nn.Identity(), classifier.classify, activations, logits.argmax(dim=1), method))
    return calibrated(np.concatenate(scores), classifier.description.temperature), np.concatenate(maps)
