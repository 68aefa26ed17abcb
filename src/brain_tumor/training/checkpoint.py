"""The state of a run after its last finished epoch, so that the next run goes on from there."""

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.plugins.io import TorchCheckpointIO

from brain_tumor.data.arrays import Arrays
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file
from brain_tumor.model.classifier import Classifier
from brain_tumor.params import TrainParams

log = logging.getLogger(__name__)

KEPT = 8
"""Unfinished runs whose state is kept; those that were abandoned longest ago make room for a new one."""

PACKAGE = Path(__file__).resolve().parent.parent


class EpochCheckpoint(Checkpoint):
    """Writes the state of the run after every epoch, and puts it back.

    It holds the trained weights, optimiser, schedule, epoch and the state of all callbacks. Random numbers follow
    from the seed and the number of the epoch or step alone (`ClassificationTask`, `FeatureBatches`), so that no
    generator's state is needed for the same bytes as without interruption.

    Attributes:
        folder: where the file is, named by the key of the run.
    """

    def __init__(self, parent: Path, key: str) -> None:
        self.folder = parent / key

    @property
    def path(self) -> Path:
        """The file, there or not."""
        return self.folder / "last.ckpt"

    def resume_from(self) -> Path | None:
        """The file to go on from, None for a fresh start."""
        if not self.path.is_file():
            return None
        log.info("resuming from the last finished epoch of an interrupted run")
        return self.path

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        if trainer.is_global_zero:
            self._drop_abandoned()
        # Lightning does not keep that a run had stopped early.
        early = trainer.early_stopping_callback
        if isinstance(early, EarlyStopping) and early.wait_count >= early.patience:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        trainer.save_checkpoint(self.path)

    def remove(self) -> None:
        """Forget the run: its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _drop_abandoned(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # none yet, or another run drops the same
            others = [folder for folder in self.folder.parent.iterdir() if folder != self.folder]
            others.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
            for folder in others[KEPT - 1 :]:
                shutil.rmtree(folder, ignore_errors=True)


class AtomicCheckpoints(TorchCheckpointIO):
    """Files that are whole or not there at all, read without unpickling anything but tensors and plain values."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ARG002
        with atomic_file(Path(path)) as temporary:
            torch.save(checkpoint, temporary)

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any = "cpu",
        weights_only: bool | None = True,  # noqa: ARG002
    ) -> dict[str, Any]:
        try:
            return super().load_checkpoint(path, map_location=map_location, weights_only=True)
        except Exception as error:
            # torch raises many kinds for a damaged file; all mean the same to the user.
            raise UserError(
                f"{path} is no whole checkpoint ({type(error).__name__}): delete it, train starts again"
            ) from error


@contextlib.contextmanager
def clean_interrupt() -> Iterator[None]:
    """Turn Ctrl-C back into KeyboardInterrupt: Lightning shuts down and exits with status 1 where it sees one."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def run_key(classifier: Classifier, arrays: Arrays, params: TrainParams, seed: int) -> str:
    """Digest of all that decides how a run goes: initial weights, data, parameters, seed, code and torch's release.

    Args:
        classifier: before training, with its initial weights.
        arrays: train and validation images.
        params: of the train stage.
        seed: of the run.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in (params.model_dump_json(), str(seed), torch.__version__):
        digest.update(part.encode() + b"\0")
    for name, value in sorted(code_digests(PACKAGE).items()):
        digest.update(f"{name} {value}\0".encode())
    for name, tensor in classifier.state_dict().items():
        digest.update(name.encode() + b"\0" + tensor.cpu().contiguous().numpy().tobytes())
    for images in (arrays.train, arrays.validation):
        digest.update(np.ascontiguousarray(images.images).data)
        digest.update(images.index.to_csv(index=False).encode())
    return digest.hexdigest()[:32]


def code_digests(package: Path) -> Mapping[str, str]:
    """SHA-256 of every Python file in the folders `model` and `training` of the package, by relative path."""
    return {
        file.relative_to(package).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in ("model", "training")
        for file in (package / folder).glob("*.py")
    }
