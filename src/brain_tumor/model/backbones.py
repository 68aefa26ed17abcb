"""The networks that can be used: a table, one row each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import timm
import torch
from torch import nn
from torchvision import models

from brain_tumor.model.weights import LITE0, LPIPS, LPIPS_WITH_NORMALISATIONS, Weights

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
        weights: pretrained ones, by the value of `train.weights` that asks for them.
        heads: values of `train.head` that fit.
        mean, deviation: of the RGB values in 0 to 1 that the pretrained weights expect.
    """

    build: Callable[[], nn.Module]
    modules: tuple[str, ...]
    channels: int
    last: int
    last_two: int
    weights: Mapping[str, Weights]
    heads: tuple[str, ...] = ("class_map", "pooled")
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


def _weights(imagenet: models.WeightsEnum, **others: Weights) -> dict[str, Weights]:
    return {"imagenet": Weights(imagenet.url)} | others


_VGG_HEADS = ("class_map", "pooled", "imagenet")
_VGG16 = _weights(models.VGG16_Weights.IMAGENET1K_V1, imagenet_convolutions=LPIPS)
_VGG16_BN = _weights(models.VGG16_BN_Weights.IMAGENET1K_V1, imagenet_convolutions=LPIPS_WITH_NORMALISATIONS)
_RESNET = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")

BACKBONES: Mapping[str, Backbone] = {
    # The last max pooling belongs to the head: without it the explained layer is the ReLU behind the last convolution.
    "vgg16": Backbone(_vgg(models.vgg16), _features(30), 512, 24, 17, _VGG16, _VGG_HEADS),
    "vgg16_bn": Backbone(_vgg(models.vgg16_bn), _features(43), 512, 34, 24, _VGG16_BN, _VGG_HEADS),
    "resnet18": Backbone(models.resnet18, _RESNET, 512, 7, 6, _weights(models.ResNet18_Weights.IMAGENET1K_V1)),
    "resnet50": Backbone(models.resnet50, _RESNET, 2048, 7, 6, _weights(models.ResNet50_Weights.IMAGENET1K_V2)),
    "mobilenet_v3_large": Backbone(
        models.mobilenet_v3_large, _features(17), 960, 13, 7, _weights(models.MobileNet_V3_Large_Weights.IMAGENET1K_V2)
    ),
    "efficientnet_b0": Backbone(
        models.efficientnet_b0, _features(9), 1280, 6, 4, _weights(models.EfficientNet_B0_Weights.IMAGENET1K_V1)
    ),
    "convnext_tiny": Backbone(
        models.convnext_tiny, _features(8), 768, 6, 4, _weights(models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1)
    ),
    "efficientnet_lite0": Backbone(
        lambda: timm.create_model("tf_efficientnet_lite0"),
        ("conv_stem", "bn1", *(f"blocks.{number}" for number in range(7)), "conv_head", "bn2"),
        1280,
        7,
        5,
        {"imagenet": LITE0},
        # Values less 127, divided by 128: tensorflow/tpu, efficientnet/lite/efficientnet_lite_builder.py.
        mean=(127 / 255,) * 3,
        deviation=(128 / 255,) * 3,
    ),
}
