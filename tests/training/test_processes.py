"""Two processes on a processor, which the run refuses, through the same task, batches and Trainer as on two GPUs."""

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import lightning
import pytest
import torch
from torch import nn

from brain_tumor.training.batches import FeatureBatches
from brain_tumor.training.loss import balanced_weights
from brain_tumor.training.run import build
from brain_tumor.training.task import ClassificationTask

pytestmark = pytest.mark.slow


class Keep(lightning.Callback):
    """Writes the gradients of every step, and the losses of the epoch, of each process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):  # noqa: ARG002
        trained = {name: value for name, value in pl_module.named_parameters() if value.requires_grad}
        self.gradients.append({name: value.grad.clone() for name, value in trained.items()})

    def on_train_epoch_end(self, trainer, pl_module):  # noqa: ARG002
        losses = {name: float(trainer.callback_metrics[name]) for name in ("train_loss", "val_loss", "val_accuracy")}
        kept = {"gradients": self.gradients, "losses": losses}
        torch.save(kept, self.folder / f"{trainer.world_size}_{trainer.global_rank}.pt")


def train(rank, processes, port, arrays, params, cache, folder):
    """An epoch in one of so many processes, as `fit` has it."""
    if processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0", LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    lightning.seed_everything(3, verbose=False)
    classifier = build(params, arrays, 3)
    classifier.head[2] = nn.Identity()  # batch normalisation, which torch synchronises between GPUs alone
    task = ClassificationTask(classifier, params, balanced_weights(torch.from_numpy(arrays.train.labels)), seed=3)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=processes,
        max_epochs=1,
        callbacks=[Keep(folder)],
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        logger=False,
    )
    trainer.fit(task, datamodule=FeatureBatches(arrays, classifier, cache, params.batch_size, seed=3))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


START = """
import pickle, sys
from test_processes import train
train(int(sys.argv[1]), 2, sys.argv[2], *pickle.load(open(sys.argv[3], "rb")))
"""


def together(arguments, file):
    """`train` in two processes at once."""
    file.write_bytes(pickle.dumps(arguments))
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", START]
    port, ranks = str(free_port()), ("0", "1")
    processes = [subprocess.Popen([*command, rank, port, str(file)], env=variables) for rank in ranks]
    try:
        assert [process.wait(timeout=600) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()


def test_two_processes_have_gradients_and_losses_of_one(arrays, train_params, cache, tmp_path):
    # Weights stand still, so that every step compares gradients at the same place; dropout differs by process.
    changes = {"head": "pooled", "dropout": 0.0, "learning_rate": 1e-30, "weight_decay": 0.0, "trainable": "block5"}
    params = train_params.model_copy(update=changes)

    train(0, 1, None, arrays, params, cache, tmp_path)
    together((arrays, params, cache, tmp_path), tmp_path / "arguments.pickle")

    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1_0", "2_0", "2_1"))

    assert len(alone["gradients"]) == len(first["gradients"]) == len(arrays.train) // params.batch_size
    for whole, *shares in zip(alone["gradients"], first["gradients"], second["gradients"], strict=True):
        assert any(value.abs().max() > 1e-3 for value in whole.values())
        for name, expected in whole.items():
            for share in shares:
                torch.testing.assert_close(share[name], expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    for share in (first, second):
        assert share["losses"] == pytest.approx(alone["losses"], rel=1e-5)
