"""The output of frozen layers, computed once for each image and kept.

Entries are found by content: a folder for each frozen network, named by a digest of its weights, and in it blocks of
images, each image under the digest of its pixels. Another split or another number of copies finds what it shares.
"""

import hashlib
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from brain_tumor.data.images import Pixels
from brain_tumor.files import atomic_file
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.precision import autocast

log = logging.getLogger(__name__)

BATCH = 32
"""Images that pass the frozen layers together. Fixed, and the last batch filled up: the result for an image depends on
the size of its batch in the last bits, and must not depend on what was computed before."""

BLOCK = 8 * BATCH
"""Images in a file."""


@dataclass(frozen=True)
class Features:
    """Features of a sequence of images, gathered from the files that hold them.

    Attributes:
        blocks: arrays (images, height, width, channels), or (images, height, width) for pixels; memory maps.
        places: (images, 2), for each image the number of its block and its row there.
    """

    blocks: tuple[NDArray[np.generic], ...]
    places: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def gather(self, rows: NDArray[np.int64]) -> Tensor:
        """Features of the images `rows`, as `Classifier.tail` takes them."""
        values = np.stack([self.blocks[block][row] for block, row in self.places[rows]])
        if values.ndim == 3:
            return torch.from_numpy(values)
        return torch.from_numpy(values).permute(0, 3, 1, 2).float()  # channels last in memory, as convolutions like it


class FeatureCache:
    """Features on disk, shared by all runs.

    A block is two files: the features, and the digests of their images, written last. A block without digests is
    unfinished and counts as absent.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Args: the folder, and how many bytes the blocks may take before the least recently used are dropped."""
        self.folder = folder
        self.limit = limit

    def compute(self, classifier: Classifier, images: Pixels) -> Features:
        """Features of `images`: those at hand, and the others computed and kept.

        Args:
            classifier: its frozen layers make the features; without frozen layers they are the pixels.
            images: (images, size, size), grey values.
        """
        if not classifier.cut:
            rows = np.arange(len(images))
            return Features((images,), np.stack([np.zeros_like(rows), rows], axis=1))
        folder = self.folder / front_key(classifier)
        digests = [hashlib.blake2b(image, digest_size=16).digest() for image in images]
        known = _read_places(folder)
        distinct = {digest: row for row, digest in enumerate(digests)}
        missing = sorted(row for digest, row in distinct.items() if digest not in known)
        log.info("features: %d distinct images, %d to compute", len(distinct), len(missing))
        if missing:
            self._compute(classifier, images, digests, missing, folder)
            known = _read_places(folder)
        features = _open(known, digests)
        self._drop_oldest(keep=folder)
        return features

    def _compute(
        self, classifier: Classifier, images: Pixels, digests: list[bytes], missing: list[int], folder: Path
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with tqdm(total=len(missing), desc="features", unit="img", disable=not sys.stderr.isatty()) as progress:
            for start in range(0, len(missing), BLOCK):
                rows = missing[start : start + BLOCK]
                block = np.concatenate(
                    [_front(classifier, images[rows[i : i + BATCH]]) for i in range(0, len(rows), BATCH)]
                )
                names = np.frombuffer(b"".join(digests[row] for row in rows), np.uint8).reshape(len(rows), -1)
                path = folder / f"{hashlib.sha256(names.tobytes()).hexdigest()[:32]}.npy"
                with atomic_file(path) as temporary:
                    np.save(temporary, block, allow_pickle=False)
                with atomic_file(_digests_file(path)) as temporary:
                    np.save(temporary, names, allow_pickle=False)
                progress.update(len(rows))

    def _drop_oldest(self, keep: Path) -> None:
        """Drop the networks used longest ago, never the one in use, until the rest fits."""
        os.utime(keep)
        networks = sorted(self.folder.iterdir(), key=lambda folder: folder.stat().st_mtime)
        sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in networks}
        log.info("features: the cache holds %.1f GB in %s", sum(sizes.values()) / 1e9, self.folder)
        for folder in networks:
            if sum(sizes.values()) > self.limit and folder != keep:
                shutil.rmtree(folder)
                log.info(
                    "features: dropped %.1f GB of another network to stay within the limit", sizes.pop(folder) / 1e9
                )


def open_cache(environment: Mapping[str, str] = os.environ) -> FeatureCache:
    """The cache below `BRAIN_TUMOR_CACHE` (default `.cache`), with at most `BRAIN_TUMOR_CACHE_GB` (default 20)."""
    return FeatureCache(
        cache_folder(environment) / "features", int(float(environment.get("BRAIN_TUMOR_CACHE_GB", 20)) * 1e9)
    )


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where downloaded weights and features are kept: `BRAIN_TUMOR_CACHE`, else `.cache`."""
    return Path(environment.get("BRAIN_TUMOR_CACHE", ".cache"))


def front_key(classifier: Classifier) -> str:
    """Digest of everything that decides the features of an image: frozen weights, cut, precision, torch's release."""
    digest = hashlib.sha256()
    description = classifier.description
    for part in (description.backbone, description.precision, torch.__version__):
        digest.update(part.encode() + b"\0")
    for name, tensor in classifier.trunk[: classifier.cut].state_dict().items():
        digest.update(name.encode() + b"\0" + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


@torch.inference_mode()
def _front(classifier: Classifier, images: Pixels) -> NDArray[np.float16]:
    """Features (images, height, width, channels) in half precision."""
    padded = np.zeros((BATCH, *images.shape[1:]), np.uint8)
    padded[: len(images)] = images
    with autocast(classifier.description.precision):
        features = classifier.front(torch.from_numpy(padded))[: len(images)]
    half = features.permute(0, 2, 3, 1).to(torch.float16)
    if not torch.isfinite(half).all():
        raise ValueError("features exceed the range of half precision: these weights cannot be used with frozen layers")
    return half.contiguous().numpy()


def _digests_file(block: Path) -> Path:
    return block.with_suffix(".digests.npy")


def _read_places(folder: Path) -> dict[bytes, tuple[Path, int]]:
    """For each image at hand, by digest, its block and its row there."""
    return {
        names.tobytes(): (path.with_name(path.name.replace(".digests", "")), row)
        for path in sorted(folder.glob("*.digests.npy"))
        for row, names in enumerate(np.load(path, allow_pickle=False))
    }


def _open(known: dict[bytes, tuple[Path, int]], digests: list[bytes]) -> Features:
    paths = sorted({known[digest][0] for digest in digests})
    numbers = {path: number for number, path in enumerate(paths)}
    blocks = tuple(np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
    places = [(numbers[known[digest][0]], known[digest][1]) for digest in digests]
    return Features(blocks, np.array(places, np.int64))
