"""What the parts of the training recipe are worth: one changed at a time, with a network that trains in minutes.

Every row is the train section of params.yaml but for `RECIPE` and what its name says, trained on the arrays of the
augment stage. Choose by the validation columns; the others show what the choice would do.

    dvc repro augment
    python experiments/recipe.py --seeds 17 18 19

Run from the project's root. With `download.additional: [br35h]` there are tumours of a new source in the table, too.
Rows that experiments/recipe.csv has already are not computed again.
"""

import argparse
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import pandas as pd
import tables
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from brain_tumor.data.arrays import Arrays, open_arrays
from brain_tumor.data.catalog import CLASSES, HEALTHY
from brain_tumor.model.features import cache_folder, open_cache
from brain_tumor.model.precision import TRAINER_PRECISION
from brain_tumor.model.predict import probabilities
from brain_tumor.params import TrainParams, load_params
from brain_tumor.stage import stage
from brain_tumor.training.batches import FeatureBatches
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.callbacks import History
from brain_tumor.training.checkpoint import EpochCheckpoint, run_key
from brain_tumor.training.loss import balanced_weights
from brain_tumor.training.run import Result, fit, pretrained
from brain_tumor.training.shared_norm import SharedBatchNorm
from brain_tumor.training.task import ClassificationTask

TABLE = Path("experiments/recipe.csv")

RECIPE: dict[str, Any] = {
    "backbone": "efficientnet_lite0",
    "weights": "imagenet",
    "trainable": "block5",
    "epochs": 3,
}

CHANGES: Mapping[str, dict[str, Any]] = {
    "the recipe": {},
    "no label smoothing": {"label_smoothing": 0.0},
    "label smoothing of 0.1": {"label_smoothing": 0.1},
    "no mixed styles": {"mixstyle": 0.0},
    "weight decay of 1e-4": {"weight_decay": 1e-4},
    "cosine in place of one cycle": {"schedule": "cosine"},
    "dropout of 0.2": {"dropout": 0.2},
    "averaged weights": {},
}

AVERAGED = "averaged weights"
DECAY = 0.99
"""Of the moving average at each step: it reaches back some hundred steps, a third of an epoch."""

log = logging.getLogger(__name__)


@stage
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[17], help="of weights and order")
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES), metavar="CHANGE")
    arguments = parser.parse_args()
    arrays = open_arrays(Path("data/arrays"))
    for seed in arguments.seeds:
        for change in arguments.changes:
            if not tables.has(TABLE, change=change, seed=seed):
                row = {"change": change, "seed": seed} | run(arrays, change, seed)
                log.info("%s", row)
                tables.put(TABLE, pd.DataFrame([row]), ["change", "seed"])
    print(pd.read_csv(TABLE).to_string(index=False))


def run(arrays: Arrays, change: str, seed: int) -> dict[str, Any]:
    """Train, calibrate and score one row."""
    start = time.monotonic()
    params = TrainParams.model_validate(load_params().train.model_dump() | RECIPE | CHANGES[change])
    if change == AVERAGED:
        result = averaged(arrays, params, seed)
    else:
        result = fit(arrays, params, seed, open_cache(), cache_folder())
    accuracy = calibrate(result.classifier, arrays.validation, params, open_cache())
    validation = probabilities(result.classifier, arrays.validation.images, open_cache())
    test = _called(result, arrays.test.images)
    healthy = CLASSES.index(HEALTHY)
    new = None if arrays.external is None else _called(result, arrays.external.images) != healthy
    result.checkpoint.remove()
    return {
        "validation_accuracy": accuracy,
        "validation_log_loss": log_loss(arrays.validation.labels, validation, labels=range(len(CLASSES))),
        "test_accuracy": float((test == arrays.test.labels).mean()),
        "test_notumor": float((test[arrays.test.labels == healthy] == healthy).mean()),
        "external_tumours_predicted_tumour": None if new is None else float(new.mean()),
        "minutes": (time.monotonic() - start) / 60,
    }


def averaged(arrays: Arrays, params: TrainParams, seed: int) -> Result:
    """As `fit`, with an exponential moving average over the steps in place of the best epoch's weights.

    It does not go on where a killed run ended.
    """
    lightning.seed_everything(seed, workers=True, verbose=False)
    classifier = pretrained(params, arrays, seed, cache_folder())
    history = History()
    data = FeatureBatches(arrays, classifier, open_cache(), params.batch_size, seed)
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=params.epochs,
        precision=TRAINER_PRECISION[classifier.description.precision],
        callbacks=[history, EMAWeightAveraging(decay=DECAY)],
        plugins=[SharedBatchNorm()],
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        logger=False,
    )
    weights = balanced_weights(torch.from_numpy(arrays.train.labels))
    trainer.fit(ClassificationTask(classifier, params, weights, seed), datamodule=data)
    unused = EpochCheckpoint(cache_folder() / "checkpoints", run_key(classifier, arrays, params, seed))
    return Result(classifier.eval(), history.table(), unused, first=True)


def _called(result: Result, images: NDArray[Any]) -> NDArray[Any]:
    """(images,), the class that each is called."""
    called: NDArray[Any] = probabilities(result.classifier, images, open_cache()).argmax(axis=1)
    return called


if __name__ == "__main__":
    main()
