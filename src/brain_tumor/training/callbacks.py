"""What is remembered and shown of a run: history, best epoch, progress."""

import logging
import sys
from typing import Any

import lightning
import pandas as pd
from torch import Tensor
from tqdm import tqdm

from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier

log = logging.getLogger(__name__)

HISTORY_COLUMNS = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")


class History(lightning.Callback):
    """Collects the values of every epoch, and prints a line an epoch where there is no terminal for a bar."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        values = trainer.callback_metrics
        row = {name: float(values[name]) for name in HISTORY_COLUMNS[1:]}
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})
        if trainer.is_global_zero and not sys.stderr.isatty():
            text = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
            log.info("epoch %d of %d: %s", trainer.current_epoch + 1, trainer.max_epochs, text)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

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
            self.state = {name: value.detach().cpu().clone() for name, value in _trained(pl_module).items()}

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss, "epoch": self.epoch, "state": self.state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.loss, self.epoch, self.state = state_dict["loss"], state_dict["epoch"], state_dict["state"]

    def restore(self, classifier: Classifier) -> None:
        """Put the remembered weights back.

        Raises:
            UserError: no epoch had a finite validation loss.
        """
        if not self.state:
            raise UserError("the validation loss was never a finite number: lower train.learning_rate")
        classifier.load_state_dict(self.state, strict=False)


class RunProgress(lightning.Callback):
    """A bar over all steps of the run, with the time left, on a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        hidden = not (trainer.is_global_zero and sys.stderr.isatty())
        steps = int(trainer.estimated_stepping_batches)
        self.bar = tqdm(total=steps, initial=trainer.global_step, desc="training", unit="step", disable=hidden)

    def on_train_batch_end(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        if self.bar is not None:
            loss, accuracy = (float(trainer.callback_metrics[name]) for name in ("val_loss", "val_accuracy"))
            self.bar.set_postfix_str(
                f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, val_loss {loss:.3f}, "
                f"val_accuracy {accuracy:.3f}"
            )

    def teardown(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:  # noqa: ARG002
        if self.bar is not None:
            self.bar.close()


def _trained(task: lightning.LightningModule) -> dict[str, Tensor]:
    classifier = task.classifier
    if not isinstance(classifier, Classifier):
        raise TypeError(f"expected a task with a Classifier, got {type(classifier).__name__}")
    return classifier.trained_state()
