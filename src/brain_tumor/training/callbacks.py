"""What happens around the epochs of a run: history and early stopping."""

import logging
from typing import Any

import lightning
import pandas as pd
from lightning.pytorch.callbacks import EarlyStopping

log = logging.getLogger(__name__)

HISTORY_COLUMNS = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy")


class History(lightning.Callback):
    """Collects the values of every epoch, and prints a line an epoch where there is no progress bar."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        values = trainer.callback_metrics
        row = {name: float(values[name]) for name in HISTORY_COLUMNS[1:]}
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})
        if trainer.is_global_zero and trainer.progress_bar_callback is None:
            text = ", ".join(f"{name} {value:.4f}" for name, value in row.items())
            log.info("epoch %d of %d: %s", trainer.current_epoch + 1, trainer.max_epochs, text)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = list(state_dict["rows"])

    def table(self) -> pd.DataFrame:
        """A row an epoch."""
        return pd.DataFrame(self.rows, columns=list(HISTORY_COLUMNS))


class EarlyStop(EarlyStopping):
    """Lightning's; and a run that had stopped early trains no further when it is resumed."""

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:  # noqa: ARG002
        trainer.should_stop = self.stopped_epoch > 0
