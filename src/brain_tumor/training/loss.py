"""The training loss, for pictures whose class is known and for those of which only a tumour is known."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from brain_tumor.data.arrays import UNKNOWN_TUMOUR
from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX
from brain_tumor.data.cells import UNKNOWN, WHOLE

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


_COVERED, _CLEAR = 0.5, 0.1  # share of a cell; between them a cell is left out
_TUMOUR_CELL = 3.0  # what a cell of a tumour counts beside one without


def cell_loss(cells: Tensor, coverage: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of cells: the picture's class where the tumour covers a cell, no tumour where it does not.

    A tumour covers a cell of which it fills more than half, and the one that it fills most: a small one lies across
    cells. Others that it fills in part are left out, and so are those of pictures with a tumour of unknown outline; a
    tumour of unknown type is any of the tumours. 0 where no cell is left.

    Args:
        cells: logits (images, classes, rows, columns).
        coverage: (images, finer rows, finer columns), as `data.cells` has it; averaged down to the cells.
        labels: (images,), index into `CLASSES`, or `UNKNOWN_TUMOUR`.
    """
    share = functional.adaptive_avg_pool2d(coverage.float() / WHOLE, (cells.shape[2], cells.shape[3]))
    known = (coverage != UNKNOWN).all(dim=(1, 2))[:, None, None]
    clear = known & (share < _CLEAR)
    covered = known & ~clear & ((share > _COVERED) | (share == share.amax(dim=(1, 2), keepdim=True)))
    log_shares = cells.float().log_softmax(dim=1)
    any_tumour = torch.logsumexp(log_shares[:, _TUMOURS], dim=1)
    typed = labels.clamp(max=len(CLASSES) - 1)[:, None, None, None].expand(-1, 1, *cells.shape[2:])
    own = log_shares.gather(1, typed)[:, 0]
    tumour = torch.where((labels == UNKNOWN_TUMOUR)[:, None, None], any_tumour, own)
    weights = _TUMOUR_CELL * covered + 1.0 * clear
    likelihood = torch.where(covered, tumour, log_shares[:, HEALTHY_INDEX])
    return -(weights * likelihood).sum() / weights.sum().clamp(min=1)


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
