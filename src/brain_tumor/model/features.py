"""The output of frozen layers, computed once for each image and kept.

Entries are found by content: a folder for each frozen network, named by a digest of its weights, and in it blocks of
images, each image under the digest of its pixels. Another split or another number of copies finds what it shares.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brain_tumor.data.images import Pixels
from brain_tumor.files import atomic_file, cache_folder
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.precision import autocast
from brain_tumor.progress import progress

log = logging.getLogger(__name__)

BATCH, CPU_BATCH = 32, 4
"""Images that pass the frozen layers together. Fixed, and the last batch filled up: the result for an image depends on
the size of its batch in the last bits, and must not depend on what was computed before. Few on a processor: glibc
takes memory for results above 32 MB from the system each time anew, and half of the time goes into that."""

BLOCK = 256
"""Images in a file."""

CPU = torch.device("cpu")

DIGESTS = ".digests.npy"


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
        return _as_input(torch.from_numpy(self._stack(rows)))

    def on(self, device: torch.device) -> "DeviceFeatures":
        """All features in the memory of a device, so that no batch waits for the disk."""
        return DeviceFeatures(torch.from_numpy(self._stack(np.arange(len(self)))).to(device))

    def _stack(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        return np.stack([self.blocks[block][row] for block, row in self.places[rows]])


@dataclass(frozen=True)
class DeviceFeatures:
    """As `Features`, in one tensor on a device."""

    values: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def gather(self, rows: NDArray[np.int64]) -> Tensor:
        return _as_input(self.values[torch.from_numpy(rows).to(self.values.device)])


def _as_input(values: Tensor) -> Tensor:
    if values.ndim == 3:
        return values
    return values.permute(0, 3, 1, 2).float()  # channels last in memory, as convolutions like it


class FeatureCache:
    """Features on disk, shared by all runs.

    A block is two files: the features, and digests, first of that file and then of the images, written last. A block
    without digests is unfinished and counts as absent; one that is not what it was is dropped and computed again.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """Args: the folder, and how many bytes the blocks may take before the least recently used are dropped."""
        self.folder = folder
        self.limit = limit
        self._in_use: set[Path] = set()
        self._whole: set[Path] = set()

    def compute(self, classifier: Classifier, images: Pixels, device: torch.device = CPU) -> Features:
        """Features of `images`: those at hand, and the others computed and kept.

        Args:
            classifier: its frozen layers make the features; without frozen layers they are the pixels.
            images: (images, size, size), grey values.
            device: where they are computed.
        """
        self.fill(classifier, images, device)
        return self.open(classifier, images, device)

    def fill(self, classifier: Classifier, images: Pixels, device: torch.device = CPU) -> None:
        """Compute and keep the features that are not at hand; arguments as for `compute`."""
        if not classifier.cut:
            return
        folder, digests = self.folder / front_key(classifier, device), _image_digests(images)
        distinct = {digest: row for row, digest in enumerate(digests)}
        known = self._at_hand(folder, distinct)
        missing = sorted(row for digest, row in distinct.items() if digest not in known)
        if missing:
            at_hand = len(distinct) - len(missing)
            log.info("features: %d at hand, %d to compute, kept in %s", at_hand, len(missing), self.folder)
        classifier.to(device)
        blocks = [missing[start : start + BLOCK] for start in range(0, len(missing), BLOCK)]
        for rows in progress("features", unit="block")(blocks):
            _write_block(folder, _front(classifier, images[rows], device), [digests[row] for row in rows])
        known = _read_places(folder)
        self._use({known[digest][0] for digest in digests})

    def open(self, classifier: Classifier, images: Pixels, device: torch.device = CPU) -> Features:
        """Features that `fill` has kept; arguments as for `compute`."""
        if not classifier.cut:
            rows = np.arange(len(images))
            return Features((images,), np.stack([np.zeros_like(rows), rows], axis=1))
        known = _read_places(self.folder / front_key(classifier, device))
        places = [known[digest] for digest in _image_digests(images)]
        numbers = {path: number for number, path in enumerate(sorted({path for path, _ in places}))}
        blocks = tuple(np.load(path, mmap_mode="r", allow_pickle=False) for path in numbers)
        return Features(blocks, np.array([(numbers[path], row) for path, row in places], np.int64))

    def _at_hand(self, folder: Path, wanted: Iterable[bytes]) -> dict[bytes, tuple[Path, int]]:
        """As `_read_places`; the blocks of the images that are wanted are whole, or dropped."""
        known = _read_places(folder)
        for path in {known[digest][0] for digest in wanted if digest in known} - self._whole:
            if _is_whole(path):
                self._whole.add(path)
            else:
                _drop(path, "is damaged")
                known = {digest: place for digest, place in known.items() if place[0] != path}
        return known

    def _use(self, blocks: set[Path]) -> None:
        """Mark blocks as used now; drop those used longest ago, none that this process uses, until the rest fits."""
        for path in blocks:
            path.touch()
        self._in_use |= blocks
        # Whatever else a killed run left, unfinished blocks and temporary files, ages and goes likewise.
        stats = {path: path.stat() for path in self.folder.glob("*/*") if not path.name.endswith(DIGESTS)}
        size = sum(stat.st_size for stat in stats.values())
        dropped = 0
        for path in sorted(stats, key=lambda path: stats[path].st_mtime):
            if size - dropped > self.limit and path not in self._in_use:
                _drop(path)
                dropped += stats[path].st_size
        if dropped:
            log.info("features: dropped %.2f GB that were used longest ago", dropped / 1e9)


def _write_block(folder: Path, features: NDArray[np.float16], digests: list[bytes]) -> None:
    names = np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)
    path = folder / f"{hashlib.sha256(names.tobytes()).hexdigest()[:32]}.npy"
    with atomic_file(path) as temporary:
        np.save(temporary, features, allow_pickle=False)
        own = np.frombuffer(_digest(temporary.read_bytes()), np.uint8)
    with atomic_file(_digests_file(path)) as temporary:
        np.save(temporary, np.concatenate([own[None], names]), allow_pickle=False)


def _is_whole(block: Path) -> bool:
    try:
        digest: bytes = np.load(_digests_file(block), allow_pickle=False)[0].tobytes()
        return digest == _digest(block.read_bytes())
    except OSError:
        return False


def _drop(block: Path, reason: str = "") -> None:
    if reason:
        log.warning("features: %s %s, and computed again", block, reason)
    _digests_file(block).unlink(missing_ok=True)  # first, so that no digests are without their block
    block.unlink(missing_ok=True)


def open_cache(environment: Mapping[str, str] = os.environ) -> FeatureCache:
    """The cache below `cache_folder`, with at most `BRAIN_TUMOR_CACHE_GB` (default 20)."""
    gigabytes = float(environment.get("BRAIN_TUMOR_CACHE_GB", 20))
    return FeatureCache(cache_folder(environment) / "features", int(gigabytes * 1e9))


def front_key(classifier: Classifier, device: torch.device = CPU) -> str:
    """Digest of what decides an image's features: frozen weights, cut, precision, device, batch, torch's version."""
    digest = hashlib.sha256()
    description, device_and_batch = classifier.description, f"{device.type} {_batch_on(device)}"
    for name in (description.backbone, description.precision, device_and_batch, torch.__version__):
        digest.update(name.encode() + b"\0")
    for name, tensor in classifier.trunk[: classifier.cut].state_dict().items():
        digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


def frozen_output(classifier: Classifier, images: Pixels, device: torch.device = CPU) -> Tensor:
    """Features of `images` as `Classifier.tail` takes them, computed and not kept; arguments as for `compute`."""
    return _as_input(torch.from_numpy(_front(classifier, images, device) if classifier.cut else images))


def _batch_on(device: torch.device) -> int:
    return CPU_BATCH if device.type == "cpu" else BATCH


@torch.inference_mode()
def _front(classifier: Classifier, images: Pixels, device: torch.device) -> NDArray[np.float16]:
    """Features (images, height, width, channels) in half precision."""
    batch = _batch_on(device)
    padded = np.zeros((-(-len(images) // batch) * batch, *images.shape[1:]), np.uint8)
    padded[: len(images)] = images
    batches = padded.reshape(-1, batch, *images.shape[1:])
    with autocast(classifier.description.precision, device.type):
        outputs = [classifier.front(torch.from_numpy(pixels).to(device)) for pixels in batches]
    features = torch.cat(outputs)[: len(images)]
    half = features.permute(0, 2, 3, 1).to(torch.float16)
    if not torch.isfinite(half).all():
        raise ValueError("features exceed the range of half precision: these weights cannot be used with frozen layers")
    return half.contiguous().cpu().numpy()


def _digests_file(block: Path) -> Path:
    return block.with_suffix(DIGESTS)


def _image_digests(images: Pixels) -> list[bytes]:
    return [_digest(image.data) for image in images]


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _read_places(folder: Path) -> dict[bytes, tuple[Path, int]]:
    """For each image at hand, by digest, its block and its row there; digests that cannot be read are dropped."""
    places: dict[bytes, tuple[Path, int]] = {}
    for path in sorted(folder.glob(f"[!.]*{DIGESTS}")):
        block = path.with_name(path.name.replace(".digests", ""))
        try:
            names = np.load(path, allow_pickle=False)[1:]
        except (OSError, ValueError, EOFError, IndexError):
            _drop(block, "is damaged")
            continue
        places |= {name.tobytes(): (block, row) for row, name in enumerate(names)}
    return places
