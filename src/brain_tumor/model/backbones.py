"""The networks that can be used: a table, one entry each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn
from torchvision import models


@dataclass(frozen=True)
class Backbone:
    """What the project must know of a torchvision network.

    Attributes:
        build: makes the network with random weights.
        trunk: name of its convolutional part in torchvision's state dictionary.
        length: how many modules of that part are used; Grad-CAM explains the output of the last.
        channels: of that output.
        cuts: for each value of `train.trainable`, the number of modules that are frozen.
    """

    build: Callable[[], nn.Module]
    trunk: str
    length: int
    channels: int
    cuts: Mapping[str, int]


BACKBONES: Mapping[str, Backbone] = {
    # The last max pooling belongs to the head: without it the explained layer is the ReLU behind the last convolution.
    "vgg16": Backbone(
        build=models.vgg16,
        trunk="features",
        length=30,
        channels=512,
        cuts={"head": 30, "block5": 24, "block4": 17, "all": 0},
    ),
}
