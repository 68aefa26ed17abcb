"""The head that tells the class of every cell of the last feature map, and of the picture from its cells.

With average pooling alone a network may tell the collection that a picture comes from. Cells that are trained with
outlines cannot: the healthy tissue beside a tumour is of the same picture.

Source of the pooling: Pinheiro and Collobert, From Image-level to Pixel-level Labeling with Convolutional Networks,
2015, section 3.2; of instances and bags: Ilse et al., Attention-based Deep Multiple Instance Learning, 2018.
"""

import math

import torch
from torch import Tensor, nn

from brain_tumor.data.catalog import HEALTHY_INDEX


class ClassMapHead(nn.Module):
    """Cell logits by one linear layer, and by log-sum-exp over the cells the logits of the picture.

    The evidence of a class in a cell is its logit less that of no tumour. The picture's logit of a tumour is the
    log-sum-exp of its evidence over the cells, less half the log of their number, plus a bias; that of no tumour is a
    bias alone. The weights of log-sum-exp add up to 1, so Grad-CAM of a picture's logit is the evidence over the
    number of cells, where it is above 0: exactly so, because the linear layer has no bias of its own.
    """

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        """Args: channels of the activations, classes, and the share of channels that training drops."""
        super().__init__()
        self.dropout = nn.Dropout2d(dropout)
        self.linear = nn.Conv2d(channels, classes, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(classes))

    def cells(self, activations: Tensor) -> Tensor:
        """Logits (images, classes, height, width) of every cell from (images, channels, height, width)."""
        logits: Tensor = self.linear(self.dropout(activations))
        return logits

    def pooled(self, cells: Tensor) -> Tensor:
        """Logits (images, classes) of the pictures from those of their cells."""
        evidence = evidence_of(cells).flatten(2).float()
        logits = torch.logsumexp(evidence, dim=2) - math.log(evidence.shape[2]) / 2
        healthy = torch.zeros_like(logits)
        places = torch.arange(logits.shape[1], device=logits.device) == HEALTHY_INDEX
        return torch.where(places, healthy, logits) + self.bias

    def forward(self, activations: Tensor) -> Tensor:
        """Logits (images, classes) from (images, channels, height, width)."""
        return self.pooled(self.cells(activations))


def evidence_of(cells: Tensor) -> Tensor:
    """What speaks for each class against no tumour: (images, classes, height, width), 0 for no tumour itself."""
    return cells - cells[:, HEALTHY_INDEX, None]
