"""The networks that can be used: a table, one entry each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import timm
import torch
from torch import nn
from torchvision import models

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of RGB values in 0 to 1, as torchvision's pretrained networks expect them."""


@dataclass(frozen=True)
class Backbone:
    """What the project must know of a network.

    The trunk is a row of its modules; Grad-CAM explains the output of the last.

    Attributes:
        build: makes the whole network with random weights.
        modules: names of the trunk's modules in the network, in order.
        channels: of the trunk's output.
        last: number of modules in front of the last of the resolutions that the trunk works at, frozen for `block5`.
        last_two: likewise for `block4`.
        heads: values of `train.head` that fit.
        before: channels of the output of the module in front of `last`, where it is of the trunk's last resolution, so
            that the head `multilevel` can take both.
        mean, deviation: of the RGB values in 0 to 1 that pretrained weights expect.
    """

    build: Callable[[], nn.Module]
    modules: tuple[str, ...]
    channels: int
    last: int
    last_two: int
    heads: tuple[str, ...] = ("pooled",)
    before: int = 0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    deviation: tuple[float, float, float] = IMAGENET_DEVIATION

    @property
    def cuts(self) -> Mapping[str, int]:
        """For each value of `train.trainable`, the number of modules that are frozen."""
        return {"head": len(self.modules), "block5": self.last, "block4": self.last_two, "all": 0}


def _features(count: int) -> tuple[str, ...]:
    return tuple(f"features.{number}" for number in range(count))


def _vgg(build: Callable[[], models.VGG]) -> Callable[[], nn.Module]:
    """A VGG whose linear layers have no memory: filling 120 million weights that are not used takes seconds."""

    def without_linear_layers() -> models.VGG:
        with torch.device("meta"):
            network = build()
        network.features.to_empty(device="cpu")
        for module in network.features.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")  # as torchvision does
                nn.init.zeros_(module.bias)
        return network

    return without_linear_layers


_VGG_HEADS = ("pooled", "multilevel", "imagenet")
_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")

BACKBONES: Mapping[str, Backbone] = {
    # The last max pooling belongs to the head: without it the explained layer is the ReLU behind the last convolution.
    "vgg16": Backbone(_vgg(models.vgg16), _features(30), 512, last=24, last_two=17, heads=_VGG_HEADS, before=512),
    "vgg16_bn": Backbone(_vgg(models.vgg16_bn), _features(43), 512, last=34, last_two=24, heads=_VGG_HEADS, before=512),
    "resnet18": Backbone(models.resnet18, _RESNET, 512, last=7, last_two=6),
    "resnet50": Backbone(models.resnet50, _RESNET, 2048, last=7, last_two=6),
    "mobilenet_v3_large": Backbone(models.mobilenet_v3_large, _features(17), 960, last=13, last_two=7),
    "efficientnet_b0": Backbone(models.efficientnet_b0, _features(9), 1280, last=6, last_two=4),
    "convnext_tiny": Backbone(models.convnext_tiny, _features(8), 768, last=6, last_two=4),
    # Values less 127, divided by 128: tensorflow/tpu, models/official/efficientnet/lite/efficientnet_lite_builder.py.
    "efficientnet_lite0": Backbone(
        lambda: timm.create_model("tf_efficientnet_lite0"),
        ("conv_stem", "bn1", *(f"blocks.{number}" for number in range(7)), "conv_head", "bn2"),
        1280,
        last=7,
        last_two=5,
        mean=(127 / 255,) * 3,
        deviation=(128 / 255,) * 3,
    ),
}
