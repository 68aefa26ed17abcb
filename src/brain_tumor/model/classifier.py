"""The classifier: uint8 grey images in, logits out, and a file that describes itself."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file
from torch import Tensor, nn

from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file
from brain_tumor.model.backbones import BACKBONES, Backbone
from brain_tumor.model.class_map import ClassMapHead
from brain_tumor.model.precision import train_depthwise_in_fp32
from brain_tumor.model.weights import Tensors, read_safetensors
from brain_tumor.model.winograd import train_by_winograd

METADATA_KEY = "brain_tumor"


class Description(BaseModel):
    """Everything needed to build the network again and to use it, kept in the model file.

    Attributes:
        classes: names in the order of the logits.
        reader: how a picture becomes pixels, as in training.
        backbone, head, trainable, precision: as in the parameters of the train stage.
        dropout: in the head while training.
        temperature: divides the logits before the softmax.
        prediction_sets: for each promised coverage, as text, how improbable each class may be and still be in the set.
        volume_threshold: from which probability on a slice of a volume shows a tumour; 0.5 where none were in training.
        study: parameters and data digest of the run that made it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...]
    reader: Reader
    backbone: str
    head: str
    trainable: str
    precision: str
    dropout: float
    temperature: Annotated[float, Field(gt=0)] = 1.0
    prediction_sets: Mapping[str, tuple[float, ...]] = {}
    volume_threshold: float = 0.5
    study: Mapping[str, Any] = {}


class Classifier(nn.Module):
    """A convolutional trunk and a head.

    The trunk is cut in two: `front` is frozen, so that its output can be computed once and kept; `activations` and
    `classify` are what is trained. Without frozen layers the features that pass between them are the pixels.

    Raises:
        UserError: a head that does not fit the backbone.
    """

    def __init__(self, description: Description) -> None:
        super().__init__()
        backbone = BACKBONES[description.backbone]
        if description.head not in backbone.heads:
            raise UserError(f"train.head: {description.head} does not fit {description.backbone}: use pooled")
        self.description = description
        self.backbone = backbone
        self.cut = backbone.cuts[description.trainable]
        network = backbone.build()
        self.trunk = nn.Sequential(*(network.get_submodule(name) for name in backbone.modules))
        train_depthwise_in_fp32(self.trunk)
        train_by_winograd(self.trunk)
        self.trunk[: self.cut].requires_grad_(False)
        # Evidence is linear in what Grad-CAM explains, so the normalisation lies before it.
        self.neck = nn.BatchNorm2d(backbone.channels) if description.head == "class_map" else nn.Identity()
        self.head: ClassMapHead | nn.Sequential = HEADS[description.head](backbone, description)
        self.train()  # a module is made in training mode, in which frozen running statistics would move

    def train(self, mode: bool = True) -> Self:
        """As for every module, but frozen layers stay in evaluation mode, their running statistics too."""
        super().train(mode)
        self.trunk[: self.cut].eval()
        return self

    def trained_state(self) -> dict[str, Tensor]:
        """The part of the state dictionary that training changes."""
        frozen = {f"trunk.{name}" for name in self.trunk[: self.cut].state_dict()}
        return {name: value for name, value in self.state_dict().items() if name not in frozen}

    def normalise(self, pixels: Tensor) -> Tensor:
        """(images, height, width) uint8 to (images, 3, height, width), as the pretrained trunk expects it."""
        grey = pixels.unsqueeze(1).float() / 255
        mean, deviation = grey.new_tensor([self.backbone.mean, self.backbone.deviation]).view(2, 1, 3, 1, 1)
        normalised = (grey - mean) / deviation
        channels_last: Tensor = normalised.contiguous(memory_format=torch.channels_last)
        return channels_last

    def front(self, pixels: Tensor) -> Tensor:
        """Features: the output of the frozen layers for uint8 pixels (images, height, width)."""
        features: Tensor = self.trunk[: self.cut](self.normalise(pixels)) if self.cut else pixels
        return features

    def activations(self, features: Tensor) -> Tensor:
        """What the head takes and Grad-CAM explains, (images, channels, height, width), from features."""
        output: Tensor = self.neck(self.trunk[self.cut :](features if self.cut else self.normalise(features)))
        return output

    def classify(self, activations: Tensor) -> Tensor:
        """Logits (images, classes) from the trunk's output."""
        logits: Tensor = self.head(activations)
        return logits

    def tail(self, features: Tensor) -> Tensor:
        """Logits (images, classes) from features."""
        return self.classify(self.activations(features))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (images, classes) from uint8 pixels (images, height, width)."""
        return self.tail(self.front(pixels))

    @torch.no_grad()
    def add_to_logits(self, offsets: NDArray[np.float64]) -> None:
        """Add (classes,) to the logits of every image, in the last layer."""
        last = self.head if isinstance(self.head, ClassMapHead) else self.head[-1]
        bias = last.get_parameter("bias")
        bias.add_(torch.from_numpy(offsets).to(bias))

    def initialise(self, weights: str, cache: Path) -> None:
        """Fill the trunk and, where the head has pretrained layers, the head with pretrained weights.

        Args:
            weights: one of the backbone's, `none` (they stay random), or the path of a `.safetensors` file under the
                names of torchvision, for `efficientnet_lite0` of timm.
            cache: folder where downloaded weights are kept.

        Raises:
            UserError: weights that cannot be had, are damaged, or do not fit the network.
        """
        known = self.backbone.weights
        if weights in known:
            self._fill(known[weights].tensors(cache), weights)
        elif Path(weights).is_file():
            self._fill(read_safetensors(Path(weights))[0], weights)
        elif weights != "none":
            raise UserError(
                f"train.weights: {weights} is no file, and {self.description.backbone} has {', '.join(known)} and none"
            )

    @torch.no_grad()
    def _fill(self, tensors: Tensors, source: str) -> None:
        """Copy by name; every pretrained layer of the network must be there with its shape."""
        head = PRETRAINED_HEAD_LAYERS[self.description.head]
        layers = dict(zip(self.backbone.modules, self.trunk, strict=True))
        layers |= {theirs: self.head.get_submodule(ours) for theirs, ours in head.items()}
        wanted = {
            f"{theirs}.{name}": target
            for theirs, layer in layers.items()
            for name, target in layer.state_dict().items()
        }
        for name, target in wanted.items():
            if name not in tensors or tensors[name].shape != target.shape:
                found = f"has shape {tuple(tensors[name].shape)}" if name in tensors else "is not there"
                raise UserError(
                    f"train.weights: {source}: {name} {found}, but {self.description.backbone} with train.head: "
                    f"{self.description.head} needs it with shape {tuple(target.shape)}"
                )
        for name, target in wanted.items():
            target.copy_(tensors[name])

    def save(self, path: Path) -> None:
        """Write weights, description and their digest as a safetensors file; the same model gives the same bytes."""
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        described = {"sha256": _digest(self.description, tensors), **self.description.model_dump(mode="json")}
        # One entry only: safetensors writes several in no fixed order.
        metadata = {METADATA_KEY: json.dumps(described)}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, metadata)


def load_classifier(path: Path) -> Classifier:
    """Read a model that `Classifier.save` wrote, in evaluation mode.

    Raises:
        UserError: no such file, not a model of this project, damaged, or its weights do not fit its description.
    """
    tensors, metadata = read_safetensors(path)
    try:
        described = json.loads(metadata[METADATA_KEY])
        digest = described.pop("sha256")
        description = Description.model_validate(described)
        classifier = Classifier(description)
        classifier.load_state_dict(tensors)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, UserError):
        raise UserError(
            f"{path} is no model of this project, or of another version: run the train stage again"
        ) from None
    if digest != _digest(description, tensors):
        raise UserError(f"{path} is damaged: run the train stage again")
    return classifier.eval().to(memory_format=torch.channels_last)


def _digest(description: Description, tensors: Tensors) -> str:
    """SHA-256 of a model: no format of tensors tells whether a bit has flipped."""
    digest = hashlib.sha256(description.model_dump_json().encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _pooled_head(backbone: Backbone, description: Description) -> nn.Sequential:
    """Global average pooling, then only linear layers, so that Grad-CAM equals CAM (Zhou et al. 2016).

    Batch normalisation evens out the features, whose scale differs by orders of magnitude between trunks.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(backbone.channels),
        nn.Dropout(description.dropout),
        nn.Linear(backbone.channels, len(description.classes)),
    )


def _class_map_head(backbone: Backbone, description: Description) -> ClassMapHead:
    return ClassMapHead(backbone.channels, len(description.classes), description.dropout)


def _imagenet_head(backbone: Backbone, description: Description) -> nn.Sequential:
    """VGG's own two layers of 4,096 units (Simonyan and Zisserman 2015), and a last layer for our classes."""
    return nn.Sequential(
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(backbone.channels * 7 * 7, 4096),
        nn.ReLU(),
        nn.Dropout(description.dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(description.dropout),
        nn.Linear(4096, len(description.classes)),
    )


HEADS: Mapping[str, Callable[[Backbone, Description], ClassMapHead | nn.Sequential]] = {
    "class_map": _class_map_head,
    "pooled": _pooled_head,
    "imagenet": _imagenet_head,
}

PRETRAINED_HEAD_LAYERS = {"class_map": {}, "pooled": {}, "imagenet": {"classifier.0": "3", "classifier.3": "6"}}
"""For each head, which layers of torchvision's network fill which of its own."""
