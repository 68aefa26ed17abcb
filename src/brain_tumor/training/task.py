"""The Lightning task: loss, optimiser, schedule."""

from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from brain_tumor.model.class_map import ClassMapHead
from brain_tumor.model.classifier import Classifier
from brain_tumor.params import TrainParams
from brain_tumor.training.loss import PartialLabelLoss, cell_loss, hits

Batch = tuple[Tensor, Tensor, Tensor]
"""Features, labels, and the coverage of cells."""


class ClassificationTask(lightning.LightningModule):
    """Train the tail of a classifier on features.

    The training loss is weighted by class and smoothed; the validation loss is neither, so that it can be compared
    between parameters. Both are means over the images of an epoch, logged as `train_loss`, `train_accuracy`,
    `val_loss` and `val_accuracy`. What is drawn at random in an epoch follows from seed, step and process alone, so
    that a resumed run draws the same.
    """

    strict_loading = False  # a checkpoint holds no frozen layers

    def __init__(self, classifier: Classifier, params: TrainParams, class_weights: Tensor, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.classifier = classifier
        self.params = params
        self.loss = PartialLabelLoss(class_weights, params.label_smoothing)

    def training_step(self, batch: Batch) -> Tensor:
        features, labels, coverage = batch
        activations, head = self.classifier.activations(features), self.classifier.head
        cells: Tensor | None = None
        if isinstance(head, ClassMapHead):
            cells = head.cells(activations)
            logits = head.pooled(cells)
        else:
            logits = self.classifier.classify(activations)
        # Not divided by the batch's own sum of weights, which would depend on how processes share the batch.
        loss: Tensor = self.loss(logits.float(), labels) / len(labels)
        self._log("train", loss, logits, labels)
        if cells is not None and self.params.cell_loss:
            loss = loss + self.params.cell_loss * cell_loss(cells, coverage, labels)
        return loss

    def validation_step(self, batch: Batch) -> None:
        features, labels, _ = batch
        logits = self.classifier.tail(features)
        self._log("val", functional.cross_entropy(logits.float(), labels), logits, labels)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002
        # Anew for every step: loaders draw from the same generator, and not as often in a resumed epoch.
        draws = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        torch.manual_seed(int(draws.generate_state(1, np.uint64)[0]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {f"classifier.{name}" for name in self.classifier.trained_state()}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}

    def configure_optimizers(self) -> Any:
        """The optimiser, and the schedule that moves its learning rate after every step."""
        optimizer = optimizer_of(self.classifier, self.params)
        scheduler = scheduler_of(optimizer, self.params, int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _log(self, part: str, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        values = {f"{part}_loss": loss.detach(), f"{part}_accuracy": hits(logits, labels).float().mean()}
        self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(labels), sync_dist=True)


def optimizer_of(classifier: Classifier, params: TrainParams) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019) for what is trained; biases and normalisation do not decay."""
    trained = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": params.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=params.learning_rate, fused=True)


def scheduler_of(optimizer: Optimizer, params: TrainParams, steps: int) -> LRScheduler:
    """The schedule of the learning rate over a run of so many steps."""
    match params.schedule:
        case "one_cycle":
            return OneCycleLR(optimizer, max_lr=params.learning_rate, total_steps=steps)
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=steps)
        case "constant":
            return LambdaLR(optimizer, lambda _: 1.0)
