"""The run: from arrays and parameters to the epoch with the best validation loss."""

import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import EarlyStopping, TQDMProgressBar
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from brain_tumor.data.arrays import Arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier, Description
from brain_tumor.model.precision import TRAINER_PRECISION
from brain_tumor.model.predict import predict
from brain_tumor.model.weights import initialise
from brain_tumor.params import TrainParams
from brain_tumor.training.features import FeatureCache, Features
from brain_tumor.training.task import Batch, ClassificationTask, balanced_weights

log = logging.getLogger(__name__)

# Lightning speaks of devices and workers at every start; what matters of a run is in its history.
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
warnings.filterwarnings("ignore", message=".*does not have many workers.*")

HISTORY_COLUMNS = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        classifier: with the weights of the best epoch, in evaluation mode.
        history: a row an epoch, `HISTORY_COLUMNS`.
        summary: the headline numbers for `metrics/train.json`.
    """

    classifier: Classifier
    history: pd.DataFrame
    summary: dict[str, Any]


def fit(arrays: Arrays, params: TrainParams, seed: int, cache: FeatureCache, weights_folder: Path) -> Result:
    """Train a classifier and keep the epoch with the lowest validation loss.

    Args:
        arrays: train and validation images.
        params: network, optimiser and schedule.
        seed: of initial weights, order of images and dropout.
        cache: where the output of frozen layers is kept.
        weights_folder: where downloaded weights are kept.

    Raises:
        UserError: pretrained weights that cannot be had or do not fit.
    """
    lightning.seed_everything(seed, workers=True, verbose=False)
    classifier = build(params, arrays, seed)
    initialise(classifier, params.weights, weights_folder)
    classifier = classifier.to(memory_format=torch.channels_last)
    train = FeatureDataset(cache.compute(classifier, arrays.train.images), arrays.train.labels)
    validation = FeatureDataset(cache.compute(classifier, arrays.validation.images), arrays.validation.labels)
    history, best = History(), BestEpoch()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=params.epochs,
        precision=TRAINER_PRECISION[params.precision],
        callbacks=[history, best, EarlyStopping("val_loss", patience=params.patience), *_progress_bar()],
        deterministic=True,
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        logger=False,
    )
    task = ClassificationTask(classifier, params, _class_weights(params, arrays.train.labels))
    trainer.fit(
        task,
        _loader(train, min(params.batch_size, len(train)), torch.Generator().manual_seed(seed)),
        _loader(validation, params.batch_size),
    )
    best.restore(classifier)
    return Result(classifier.eval(), history.table(), _summary(classifier, validation, history.table(), best.epoch))


def build(params: TrainParams, arrays: Arrays, seed: int) -> Classifier:
    """A classifier with random weights, described so that its file tells how to use it."""
    description = Description(
        classes=CLASSES,
        image_size=arrays.reader.size,
        backbone=params.backbone,
        head=params.head,
        trainable=params.trainable,
        precision=params.precision,
        dropout=params.dropout,
        study={"seed": seed, "train": params.model_dump(), "split_digest": arrays.split_digest},
    )
    return Classifier(description)


class FeatureDataset(Dataset[Batch]):
    """Features and labels, fetched a batch at a time."""

    def __init__(self, features: Features, labels: NDArray[np.int64]) -> None:
        if len(features) != len(labels):
            raise ValueError(f"{len(features)} features, {len(labels)} labels")
        self.features = features
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Features and labels of several images; what `DataLoader` calls where it is there."""
        chosen = np.asarray(rows)
        return self.features.gather(chosen), torch.from_numpy(self.labels[chosen])


class History(lightning.Callback):
    """Collects the values of every epoch, and prints a line an epoch where there is no terminal for a bar."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        values = trainer.callback_metrics
        row = {name: float(values[name]) for name in HISTORY_COLUMNS[1:]}
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})
        if not sys.stderr.isatty():
            text = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
            log.info("epoch %d of %d: %s", trainer.current_epoch + 1, trainer.max_epochs, text)

    def table(self) -> pd.DataFrame:
        """A row an epoch."""
        return pd.DataFrame(self.rows, columns=list(HISTORY_COLUMNS))


class BestEpoch(lightning.Callback):
    """Remembers the weights of the epoch with the lowest validation loss."""

    def __init__(self) -> None:
        self.loss = float("inf")
        self.epoch = 0
        self.state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        loss = float(trainer.callback_metrics["val_loss"])
        if loss < self.loss:
            self.loss, self.epoch = loss, trainer.current_epoch + 1
            self.state = {name: value.detach().clone() for name, value in _trained(pl_module).items()}

    def restore(self, classifier: Classifier) -> None:
        """Put the remembered weights back.

        Raises:
            UserError: no epoch had a finite validation loss.
        """
        if not self.state:
            raise UserError("the validation loss was never a finite number: lower train.learning_rate")
        classifier.load_state_dict(self.state, strict=False)


def _trained(task: lightning.LightningModule) -> dict[str, Tensor]:
    classifier = task.classifier
    if not isinstance(classifier, Classifier):
        raise TypeError(f"expected a task with a Classifier, got {type(classifier).__name__}")
    frozen = {f"trunk.{name}" for name in classifier.trunk[: classifier.cut].state_dict()}
    return {name: value for name, value in classifier.state_dict().items() if name not in frozen}


def _loader(dataset: FeatureDataset, batch_size: int, shuffle: torch.Generator | None = None) -> DataLoader[Batch]:
    """Batches of the data set; training ones are drawn in random order, and a last one that is smaller is left out."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=shuffle is not None,
        generator=shuffle,
        drop_last=shuffle is not None,
        collate_fn=_as_fetched,  # type: ignore[arg-type]  # __getitems__ returns a batch, no list of items
    )


def _as_fetched(batch: Batch) -> Batch:
    return batch


def _progress_bar() -> Iterator[TQDMProgressBar]:
    if sys.stderr.isatty():
        yield TQDMProgressBar()


def _class_weights(params: TrainParams, labels: NDArray[np.int64]) -> Tensor:
    if params.class_weights == "none":
        return torch.ones(len(CLASSES))
    return balanced_weights(torch.from_numpy(labels), len(CLASSES))


def _summary(classifier: Classifier, validation: FeatureDataset, history: pd.DataFrame, epoch: int) -> dict[str, Any]:
    probabilities = predict(classifier, validation.features)
    right = probabilities.argmax(axis=1) == validation.labels
    return {
        "validation_accuracy": float(right.mean()),
        "validation_loss": float(history["val_loss"].to_numpy()[epoch - 1]),
        "best_epoch": epoch,
        "epochs": len(history),
        "trained_parameters": sum(p.numel() for p in classifier.parameters() if p.requires_grad),
    }
