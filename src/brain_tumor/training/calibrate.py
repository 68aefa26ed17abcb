"""The step after training: probabilities that mean what they say, from the validation images."""

import numpy as np
import torch

from brain_tumor.data.arrays import SplitArrays
from brain_tumor.evaluation.conformal import COVERAGES, class_thresholds
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


def _describe(classifier: Classifier, **changes: object) -> None:
    classifier.description = classifier.description.model_copy(update=changes)
