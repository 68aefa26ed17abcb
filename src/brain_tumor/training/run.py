"""The run: from arrays and parameters to the epoch with the best validation loss."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping
from numpy.typing import NDArray
from torch import Tensor

from brain_tumor.data.arrays import Arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Pixels
from brain_tumor.model.classifier import Classifier, Description
from brain_tumor.model.features import FeatureCache
from brain_tumor.model.precision import TRAINER_PRECISION, autocast, resolve
from brain_tumor.params import TrainParams
from brain_tumor.training.batches import FeatureBatches
from brain_tumor.training.bn_init import initialise_normalisations, trained_normalisations
from brain_tumor.training.callbacks import BestEpoch, History, RunProgress
from brain_tumor.training.checkpoint import AtomicCheckpoints, EpochCheckpoint, clean_interrupt, run_key
from brain_tumor.training.devices import Devices
from brain_tumor.training.loss import balanced_weights
from brain_tumor.training.shared_norm import SharedBatchNorm
from brain_tumor.training.task import ClassificationTask

# Lightning speaks of devices and workers at every start; what matters of a run is in its history.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")
warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen layers are

SAMPLE = 128
"""Training images whose statistics a new batch normalisation starts with."""


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        classifier: with the weights of the best epoch, in evaluation mode.
        history: a row an epoch, `HISTORY_COLUMNS`.
        checkpoint: the last state of the run, to be removed when the results are written.
        first: whether this is the first of the processes of the run, and so the one that writes.
    """

    classifier: Classifier
    history: pd.DataFrame
    checkpoint: EpochCheckpoint
    first: bool


def fit(
    arrays: Arrays,
    params: TrainParams,
    seed: int,
    cache: FeatureCache,
    folder: Path,
    devices: Devices = Devices("cpu"),  # noqa: B008  # frozen
) -> Result:
    """Train a classifier and keep the epoch with the lowest validation loss; go on where a killed run ended.

    Args:
        arrays: train and validation images.
        params: network, optimiser and schedule.
        seed: of initial weights, order of images and dropout.
        cache: where the output of frozen layers is kept.
        folder: where downloaded weights and checkpoints are kept.
        devices: what it runs on.

    Raises:
        UserError: pretrained weights that cannot be had or do not fit, or a batch that the processes cannot share.
        KeyboardInterrupt: stopped by Ctrl-C; the finished epochs are kept.
    """
    lightning.seed_everything(seed, workers=True, verbose=False)
    classifier = pretrained(params, arrays, seed, folder)
    checkpoint = EpochCheckpoint(folder / "checkpoints", run_key(classifier, arrays, params, seed))
    history, best = History(), BestEpoch()
    trainer = lightning.Trainer(
        **devices.trainer_arguments(),
        max_epochs=params.epochs,
        precision=TRAINER_PRECISION[classifier.description.precision],
        callbacks=[history, best, EarlyStopping("val_loss", patience=params.patience), RunProgress(), checkpoint],
        plugins=[AtomicCheckpoints(), SharedBatchNorm()],
        deterministic="warn",  # on a GPU some layers have no deterministic gradient
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        logger=False,
    )
    data = FeatureBatches(arrays, classifier, cache, params.batch_size, seed)
    with clean_interrupt():
        trainer.fit(
            ClassificationTask(classifier, params, _class_weights(params, arrays.train.labels), seed),
            datamodule=data,
            ckpt_path=checkpoint.resume_from(),
            weights_only=True,
        )
    best.restore(classifier)
    return Result(classifier.eval(), history.table(), checkpoint, trainer.is_global_zero)


def build(params: TrainParams, arrays: Arrays, seed: int) -> Classifier:
    """A classifier with random weights, described so that its file tells how to use it."""
    description = Description(
        classes=CLASSES,
        reader=arrays.reader,
        backbone=params.backbone,
        head=params.head,
        trainable=params.trainable,
        precision=resolve(params.precision),
        dropout=params.dropout,
        study={"seed": seed, "train": params.model_dump(), "split_digest": arrays.split_digest},
    )
    return Classifier(description)


def pretrained(params: TrainParams, arrays: Arrays, seed: int, folder: Path) -> Classifier:
    """A classifier as training starts with it; arguments and errors as for `fit`."""
    classifier = build(params, arrays, seed)
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


def _class_weights(params: TrainParams, labels: NDArray[np.int64]) -> Tensor:
    if params.class_weights == "none":
        return torch.ones(len(CLASSES))
    return balanced_weights(torch.from_numpy(labels))
