"""The run: from arrays and parameters to the epoch with the lowest validation loss."""

import contextlib
import logging
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from lightning.pytorch.callbacks import TQDMProgressBar
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor

from brain_tumor.data.arrays import Arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier, Description
from brain_tumor.model.features import FeatureCache
from brain_tumor.model.precision import TRAINER_PRECISION, autocast, resolve
from brain_tumor.params import TrainParams
from brain_tumor.progress import is_terminal
from brain_tumor.training.batches import FeatureBatches
from brain_tumor.training.bn_init import initialise_normalisations, trained_normalisations
from brain_tumor.training.callbacks import HISTORY_COLUMNS, EarlyStop, History
from brain_tumor.training.checkpoint import (
    AtomicCheckpoints,
    checkpoints,
    drop_abandoned,
    drop_damaged,
    lock,
    resumable,
    run_folder,
)
from brain_tumor.training.devices import CPU, trainer_on, training_device
from brain_tumor.training.loss import class_weights
from brain_tumor.training.task import ClassificationTask

log = logging.getLogger(__name__)

# Lightning speaks of devices and workers at every start; what matters of a run is in its history.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen layers are
warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # of a run that goes on

SAMPLE = 128
"""Training images whose statistics a new batch normalisation starts with."""


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        classifier: with the weights of the best epoch, in evaluation mode, on the device that trained it.
        history: a row an epoch, `HISTORY_COLUMNS`.
        folder: the state of the run, to be removed when the results are written.
        lock: of that folder, held by the first of the processes of the run, which is the one that writes; else None.
    """

    classifier: Classifier
    history: pd.DataFrame
    folder: Path
    lock: FileLock | None

    @property
    def first(self) -> bool:
        """Whether this is the first of the processes of the run."""
        return self.lock is not None

    @property
    def best_epoch(self) -> dict[str, float]:
        """`epoch`, counted from 1, and loss and accuracy of train and validation in it, before calibration.

        The losses cannot be compared: that of train is weighted by class and smoothed.
        """
        row = self.history.iloc[int(self.history["val_loss"].argmin())]
        values = {name.replace("val_", "validation_"): round(float(row[name]), 4) for name in HISTORY_COLUMNS[1:]}
        return {"epoch": int(row["epoch"]), **values}

    def forget(self) -> None:
        """Remove the state of the run: its results are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.lock:
            self.lock.release()


def fit(
    arrays: Arrays,
    params: TrainParams,
    seed: int,
    cache: FeatureCache,
    folder: Path,
    devices: Mapping[str, Any] = CPU,
) -> Result:
    """Train a classifier and keep the epoch with the lowest validation loss; go on where a killed run ended.

    Args:
        arrays: train and validation images.
        params: network, optimiser and schedule.
        seed: of initial weights, order of images and dropout.
        cache: where the output of frozen layers is kept.
        folder: where downloaded weights and checkpoints are kept.
        devices: arguments of Lightning's Trainer that say what it runs on.

    Raises:
        UserError: devices or pretrained weights that cannot be had or do not fit, a batch that the processes cannot
            share, another process that trains the same, or a validation loss that was never finite.
        SystemExit: stopped by Ctrl-C or SIGTERM; the finished epochs are kept.
    """
    device = training_device(devices)
    lightning.seed_everything(seed, workers=True, verbose=False)
    classifier = pretrained(params, arrays, seed, folder, device.type)
    state = run_folder(folder / "checkpoints", classifier, arrays)
    history, (best, last) = History(), checkpoints(state)
    bars = [TQDMProgressBar()] if is_terminal(sys.stdout) else []  # Lightning's own choice wraps its lines
    trainer = trainer_on(
        devices,
        max_epochs=params.epochs,
        precision=TRAINER_PRECISION[classifier.description.precision],
        callbacks=[history, EarlyStop("val_loss", patience=params.patience), *bars, best, last],
        plugins=[AtomicCheckpoints()],
        sync_batchnorm=True,
        deterministic="warn",  # on a GPU some layers have no deterministic gradient
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=bool(bars),
        num_sanity_val_steps=0,
    )
    refuse_timm_norm(classifier, trainer.world_size)
    with contextlib.ExitStack() as failure:
        held = None
        if trainer.is_global_zero:
            held = lock(state)
            failure.callback(held.release)
            drop_abandoned(state)
            drop_damaged(state)
        if resumed := resumable(state):
            log.info("resuming from the last finished epoch of an interrupted run")
        weights = class_weights(params.class_weights, torch.from_numpy(arrays.train.labels))
        task = ClassificationTask(classifier, params, weights, seed)
        data = FeatureBatches(arrays, classifier, cache, params.batch_size, seed)
        trainer.fit(task, datamodule=data, ckpt_path=resumed, weights_only=True)
        if best.best_model_score is None or not torch.isfinite(best.best_model_score):
            raise UserError("the validation loss was never a finite number: lower train.learning_rate")
        kept = trainer.strategy.load_checkpoint(best.best_model_path, weights_only=True)
        task.load_state_dict(kept["state_dict"], strict=False)
        failure.pop_all()
    return Result(classifier.eval().to(device), history.table(), state, held)


def build(params: TrainParams, arrays: Arrays, seed: int, device: str = "cpu") -> Classifier:
    """A classifier with random weights, described so that its file tells how to use it; `device` is to train it."""
    description = Description(
        classes=CLASSES,
        reader=arrays.reader,
        backbone=params.backbone,
        head=params.head,
        trainable=params.trainable,
        precision=resolve(params.precision, device),
        dropout=params.dropout,
        study={"seed": seed, "train": params.model_dump(), "split_digest": arrays.split_digest},
    )
    return Classifier(description)


def pretrained(params: TrainParams, arrays: Arrays, seed: int, folder: Path, device: str = "cpu") -> Classifier:
    """A classifier as training starts with it; arguments and errors as for `fit`."""
    classifier = build(params, arrays, seed, device)
    classifier.initialise(params.weights, folder)
    classifier = classifier.to(memory_format=torch.channels_last)
    start = classifier.backbone.weights.get(params.weights)
    if start and start.idle_normalisations and trained_normalisations(classifier):
        initialise_normalisations(classifier, _sample(classifier, arrays.train.images))
    return classifier


@torch.no_grad()
def _sample(classifier: Classifier, images: Pixels) -> Tensor:
    """Features of a few images from all over the training set."""
    rows = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)
    with autocast(classifier.description.precision):
        return classifier.front(torch.from_numpy(images[rows])).float()


def refuse_timm_norm(classifier: Classifier, processes: int) -> None:
    """Raises: UserError for a network that torch cannot normalise over several processes.

    torch's layer drops the activation that timm's normalisation carries.
    """
    if processes > 1 and any(isinstance(module, BatchNormAct2d) for module in classifier.modules()):
        raise UserError(f"train.backbone: {classifier.description.backbone} trains on one GPU alone: use --devices 1")
