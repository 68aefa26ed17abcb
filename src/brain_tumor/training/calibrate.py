"""The step behind training: probabilities that mean what they say, from the validation images."""

import numpy as np
import torch

from brain_tumor.evaluation.conformal import COVERAGES, class_thresholds
from brain_tumor.model.calibration import calibrated, fit_calibration
from brain_tumor.model.predict import logits
from brain_tumor.params import TrainParams
from brain_tumor.training.loss import balanced_weights
from brain_tumor.training.run import Result


def calibrate(result: Result, params: TrainParams) -> float:
    """Give a trained classifier its offsets, temperature and prediction sets, all from the validation images.

    Args:
        result: of a run; the offsets go into the last layer of its classifier, the others into the description.
        params: of the run; validation images are weighted by class as those of train are.

    Returns:
        The share of validation images that the calibrated classifier calls rightly.
    """
    classifier, features, labels = result.classifier, result.validation.features, result.validation.labels
    weights = balanced_weights(torch.from_numpy(labels)).numpy() if params.class_weights == "balanced" else None
    calibration = fit_calibration(logits(classifier, features), labels, weights)
    classifier.add_to_logits(calibration.offsets)
    # Asked again: what reduced precision makes of the sum is what the model will say.
    probabilities = calibrated(logits(classifier, features), calibration.temperature)
    sets = {f"{coverage:g}": tuple(class_thresholds(probabilities, labels, coverage)) for coverage in COVERAGES}
    changes = {"temperature": calibration.temperature, "prediction_sets": sets}
    classifier.description = classifier.description.model_copy(update=changes)
    return float(np.mean(probabilities.argmax(axis=1) == labels))
