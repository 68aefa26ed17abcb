"""What happens around the epochs of a run: history, progress, early stopping."""

import logging
import sys
from typing import Any

import lightning
import pandas as pd
from lightning.pytorch.callbacks import EarlyStopping
from tqdm import tqdm

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


class Progress(lightning.Callback):
    """A bar over all steps of the run, with the time left, on a terminal."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        hidden = not (trainer.is_global_zero and sys.stderr.isatty())
        steps = int(trainer.estimated_stepping_batches)
        self.bar = tqdm(total=steps, initial=trainer.global_step, desc="training", unit="step", disable=hidden)

    def on_train_batch_end(self, *_: object) -> None:
        self.bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        scores = ", ".join(f"{name} {trainer.callback_metrics[name]:.3f}" for name in ("val_loss", "val_accuracy"))
        self.bar.set_postfix_str(f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}, {scores}")

    def on_train_end(self, *_: object) -> None:
        self.bar.close()


class EarlyStop(EarlyStopping):
    """Lightning's; and a run that had stopped early trains no further when it is resumed."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        trainer.should_stop = self.stopped_epoch > 0
