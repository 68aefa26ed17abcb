"""Logits and probabilities from features."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from brain_tumor.model.classifier import Classifier

BATCH = 32


class FeatureSource(Protocol):
    """A sequence of features, as the feature cache serves them."""

    def __len__(self) -> int: ...

    def gather(self, rows: NDArray[np.int64]) -> Tensor:
        """Features of the images `rows`."""


@torch.inference_mode()
def logits(classifier: Classifier, features: FeatureSource) -> NDArray[np.float64]:
    """What the head gives, before temperature and softmax.

    Args:
        classifier: in evaluation mode.
        features: the output of its frozen layers.

    Returns:
        (images, classes).
    """
    if classifier.training:
        raise ValueError("the classifier is in training mode: call eval() first")
    batches = np.array_split(np.arange(len(features)), max(1, -(-len(features) // BATCH)))
    device = next(classifier.parameters()).device
    return torch.cat([classifier.tail(features.gather(rows).to(device)) for rows in batches]).cpu().double().numpy()


def predict(classifier: Classifier, features: FeatureSource) -> NDArray[np.float64]:
    """Calibrated probabilities: the softmax of the logits divided by the model's temperature.

    Args:
        classifier: in evaluation mode.
        features: the output of its frozen layers.

    Returns:
        (images, classes), rows sum to 1.
    """
    return np.asarray(softmax(logits(classifier, features) / classifier.description.temperature, axis=1))
