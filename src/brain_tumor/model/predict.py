"""The one way from pictures to logits and probabilities."""

import numpy as np
import torch
from numpy.typing import NDArray

from brain_tumor.data.arrays import batches
from brain_tumor.data.images import Pixels
from brain_tumor.model.calibration import calibrated
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import FeatureCache, frozen_output


@torch.inference_mode()
def logits(classifier: Classifier, images: Pixels, cache: FeatureCache | None = None) -> NDArray[np.float64]:
    """What the head gives, before temperature and softmax, computed where the classifier is.

    Args:
        classifier: in evaluation mode.
        images: (images, size, size), grey values.
        cache: keeps the output of the frozen layers; None keeps nothing. The result is the same.

    Returns:
        (images, classes).

    Raises:
        ValueError: the classifier is in training mode.
    """
    if classifier.training:
        raise ValueError("the classifier is in training mode: call eval() first")
    device = next(classifier.parameters()).device
    features = cache.compute(classifier, images, device) if cache else None
    scores = []
    for rows in batches(len(images)):
        batch = features.gather(rows) if features else frozen_output(classifier, images[rows], device)
        scores.append(classifier.tail(batch.to(device)))
    return torch.cat(scores).double().cpu().numpy()


def probabilities(classifier: Classifier, images: Pixels, cache: FeatureCache | None = None) -> NDArray[np.float64]:
    """Calibrated probabilities (images, classes), rows sum to 1; arguments and errors as for `logits`."""
    return calibrated(logits(classifier, images, cache), classifier.description.temperature)
