"""The state of a run after its last finished epoch, so that the next run goes on from there."""

import contextlib
import hashlib
import io
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from brain_tumor.data.arrays import Arrays
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file
from brain_tumor.model.classifier import Classifier

log = logging.getLogger(__name__)

KEPT = 8
"""Unfinished runs whose state is kept; those that were abandoned longest ago make room for a new one."""

BEST, LAST = "best", "last"

PACKAGE = Path(__file__).resolve().parent.parent


def checkpoints(folder: Path) -> tuple[ModelCheckpoint, ModelCheckpoint]:
    """Lightning's callbacks that keep the weights of the epoch with the lowest validation loss, and the last state.

    The last state is written last and names the best, so it is whole whenever a run is killed. Random numbers follow
    from the seed and the number of the epoch or step alone (`ClassificationTask`, `FeatureBatches`), so that no
    generator's state is needed for the same bytes as without interruption.
    """
    best = ModelCheckpoint(folder, BEST, "val_loss", save_weights_only=True, enable_version_counter=False)
    last = ModelCheckpoint(folder, LAST, save_on_train_epoch_end=True, enable_version_counter=False)
    return best, last


class AtomicCheckpoints(TorchCheckpointIO):
    """Files that are whole or not there at all, read without unpickling anything but tensors and plain values.

    A digest stands in front of what torch writes: torch reads on where a bit has flipped.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with atomic_file(Path(path)) as temporary, temporary.open("wb") as file:
            file.write(_digest(content.getbuffer()))
            file.write(content.getbuffer())

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = True,  # noqa: ARG002
    ) -> dict[str, Any]:
        content = whole_content(Path(path))
        if content is None:
            raise UserError(f"{path} is damaged: delete its folder, train starts again")
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
        return state


def whole_content(path: Path) -> bytes | None:
    """What torch wrote into a checkpoint; None where a bit of it is another."""
    content = path.read_bytes()
    digest, content = content[:_DIGEST], content[_DIGEST:]
    return content if digest == _digest(content) else None


def damaged(folder: Path) -> Path | None:
    """The first checkpoint of a run that is not whole, or the best that is gone beside the last, written after it."""
    best, last = (folder / f"{name}.ckpt" for name in (BEST, LAST))
    if last.is_file() and not best.is_file():
        return best
    return next((path for path in (best, last) if path.is_file() and whole_content(path) is None), None)


def drop_damaged(folder: Path) -> None:
    """Delete the checkpoints of a run if one of them is not whole: only together they are a state."""
    if unusable := damaged(folder):
        log.warning("%s is damaged or gone: training starts from the beginning", unusable)
        for name in (LAST, BEST):  # in this order, for processes that look for `resumable` meanwhile
            (folder / f"{name}.ckpt").unlink(missing_ok=True)


def resumable(folder: Path) -> Path | None:
    """The state from which a run goes on; None where there is none, or it is damaged."""
    last = folder / f"{LAST}.ckpt"
    with contextlib.suppress(FileNotFoundError):  # the first process of the run deletes it
        if damaged(folder) is None and last.is_file():
            return last
    return None


def lock(folder: Path) -> FileLock:
    """Hold the state of a run until the lock is released or the process ends.

    Raises:
        UserError: another process holds it.
    """
    held = FileLock(folder / "running.lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout:
        raise UserError(f"{folder} belongs to another process that trains the same: wait for it or stop it") from None
    return held


_DIGEST = 32


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).digest()


def drop_abandoned(folder: Path) -> None:
    """Delete the state of the runs beside `folder` that were abandoned longest ago."""
    with contextlib.suppress(FileNotFoundError):  # none yet, or another run drops the same
        others = [other for other in folder.parent.iterdir() if other != folder]
        others.sort(key=lambda other: other.stat().st_mtime, reverse=True)
        for other in others[KEPT - 1 :]:
            shutil.rmtree(other, ignore_errors=True)


def run_folder(parent: Path, classifier: Classifier, arrays: Arrays) -> Path:
    """The folder for the state of a run, named by a digest of all that decides how the run goes.

    That is parameters, seed, initial weights, data, code and torch's release; its place, because Lightning forgets
    which epoch was the best where the folder has moved; and the working copy, because two may train the same at once.

    Args:
        parent: where the folders of all runs are.
        classifier: before training, with its initial weights.
        arrays: train and validation images.
    """
    digest = hashlib.sha256()
    for part in (str(parent.resolve()), str(Path.cwd()), classifier.description.model_dump_json(), torch.__version__):
        digest.update(part.encode() + b"\0")
    for name, value in sorted(code_digests(PACKAGE).items()):
        digest.update(f"{name} {value}\0".encode())
    for name, tensor in classifier.state_dict().items():
        digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    for images in (arrays.train, arrays.validation):
        digest.update(np.ascontiguousarray(images.images).data)
        digest.update(images.index.to_csv(index=False).encode())
    return parent / digest.hexdigest()[:32]


def code_digests(package: Path) -> Mapping[str, str]:
    """SHA-256 of every Python file in the folders `model` and `training` of the package, by relative path."""
    return {
        file.relative_to(package).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in ("model", "training")
        for file in (package / folder).glob("*.py")
    }
