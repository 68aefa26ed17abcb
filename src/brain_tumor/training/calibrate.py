"""The step after training: probabilities that mean what they say, from the validation images."""

import numpy as np
import torch

from brain_tumor.data.arrays import SplitArrays
from brain_tumor.evaluation.conformal import COVERAGES, class_thresholds
from brain_tumor.evaluation.volumes import best_threshold, slices_of_volumes
from brain_tumor.model.calibration import fit_calibration
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import FeatureCache
from brain_tumor.model.predict import logits, probabilities
from brain_tumor.params import TrainParams
from brain_tumor.training.loss import class_weights


def calibrate(classifier: Classifier, validation: SplitArrays, params: TrainParams, cache: FeatureCache) -> float:
    """Give a trained classifier its offsets, temperature and prediction sets, in place.

    Args:
        classifier: in evaluation mode; the offsets go into its last layer, the others into its description.
        validation: images that did not train it.
        params: of its run; validation images are weighted by class as those of train are.
        cache: keeps the output of its frozen layers.

    Returns:
        The share of the validation images that the calibrated classifier predicts correctly.
    """
    images, labels = validation.images, validation.labels
    weights = class_weights(params.class_weights, torch.from_numpy(labels)).numpy()
    calibration = fit_calibration(logits(classifier, images, cache), labels, weights)
    classifier.add_to_logits(calibration.offsets)
    _describe(classifier, temperature=calibration.temperature)
    # Computed again: what rounding makes of the sum is what the model will say.
    predicted = probabilities(classifier, images, cache)
    sets = {f"{coverage:g}": tuple(class_thresholds(predicted, labels, coverage)) for coverage in COVERAGES}
    _describe(classifier, prediction_sets=sets)
    return float(np.mean(predicted.argmax(axis=1) == labels))


def calibrate_volumes(classifier: Classifier, train: SplitArrays) -> None:
    """Set the threshold of `volume_answer` by the volumes in train, in place; it stays where there are none.

    Slices that trained a classifier are told apart more surely than others, in both directions. So this says where
    tumour and no tumour part, not how well: that is for patients who are held back.

    Args:
        classifier: calibrated, in evaluation mode.
        train: only originals count.
    """
    originals = train.index[train.index["augmented"] == 0]
    chosen = originals.iloc[slices_of_volumes(originals["path"]).index]
    rows = chosen.index.to_numpy()
    if len(rows):
        predicted = probabilities(classifier, train.images[rows])
        threshold = best_threshold(predicted, train.labels[rows], chosen["path"])
        if threshold is not None:
            _describe(classifier, volume_threshold=threshold)


def _describe(classifier: Classifier, **changes: object) -> None:
    classifier.description = classifier.description.model_copy(update=changes)
