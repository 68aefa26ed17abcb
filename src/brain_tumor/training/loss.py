"""The training loss, for pictures whose class is known and for those of which only a tumour is known."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from brain_tumor.data.arrays import UNKNOWN_TUMOUR
from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX

_TUMOURS = [label for label in range(len(CLASSES)) if label != HEALTHY_INDEX]


class PartialLabelLoss(nn.Module):
    """Cross-entropy, and for a tumour of unknown type the negative log of the summed tumour probabilities.

    The latter is the likelihood of a label that says "one of these classes" (Jin and Ghahramani, Learning with
    Multiple Labels, 2002). Label smoothing moves its share of that label, too, between tumour and none.
    """

    def __init__(self, class_weights: Tensor, label_smoothing: float) -> None:
        """Args: (classes,) a weight for each class; the share of the label that is spread over all classes."""
        super().__init__()
        self.register_buffer("class_weights", class_weights)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum over the images.

        Args:
            logits: (images, classes).
            labels: (images,), index into `CLASSES`, or `UNKNOWN_TUMOUR`.
        """
        known = labels != UNKNOWN_TUMOUR
        weights = self.get_buffer("class_weights")
        typed = functional.cross_entropy(
            logits[known], labels[known], weights, reduction="sum", label_smoothing=self.label_smoothing
        )
        log_shares = logits[~known].log_softmax(dim=1)
        tumour, healthy = torch.logsumexp(log_shares[:, _TUMOURS], dim=1), log_shares[:, HEALTHY_INDEX]
        smoothed = (1 - self.label_smoothing / 2) * tumour + self.label_smoothing / 2 * healthy
        return typed - smoothed.sum()


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """(images,), whether the most probable class is the label, or any tumour where the type is unknown."""
    predicted = logits.argmax(dim=1)
    return torch.where(labels == UNKNOWN_TUMOUR, predicted != HEALTHY_INDEX, predicted == labels)


def class_weights(kind: str, labels: Tensor) -> Tensor:
    """(classes,), those of `train.class_weights`: `balanced_weights`, or 1 for `none`."""
    return balanced_weights(labels) if kind == "balanced" else torch.ones(len(CLASSES))


def balanced_weights(labels: Tensor) -> Tensor:
    """(classes,), inversely proportional to how often a class occurs; mean 1 over the images of known class."""
    known = labels[labels != UNKNOWN_TUMOUR]
    counts = torch.bincount(known, minlength=len(CLASSES))
    return len(known) / (len(CLASSES) * counts.float())
