from types import SimpleNamespace

import numpy as np
import pytest
import torch

from brain_tumor.errors import UserError
from brain_tumor.training.batches import FeatureBatches
from brain_tumor.training.devices import CPU, devices_of, training_device
from brain_tumor.training.run import build, refuse_timm_norm


def test_devices_come_from_options_then_the_environment():
    environment = {"BRAIN_TUMOR_ACCELERATOR": "gpu", "BRAIN_TUMOR_DEVICES": "2", "BRAIN_TUMOR_NODES": "3"}

    assert devices_of([], {}) == {"accelerator": "auto", "devices": "auto", "num_nodes": 1, "strategy": "auto"}
    assert devices_of(["--devices", "4"], environment) == {
        "accelerator": "gpu",
        "devices": "4",
        "num_nodes": 3,
        "strategy": "auto",
    }


@pytest.mark.parametrize(
    ("devices", "launched", "message"),
    [
        ({"devices": "2"}, None, "2 processes cannot train without GPUs"),
        ({}, "2", "2 processes cannot train without GPUs"),
        ({"devices": "many"}, None, "training cannot run on accelerator cpu, devices many"),
        ({"strategy": "telepathy"}, None, "training cannot run on accelerator cpu, strategy telepathy"),
    ],
)
def test_devices_that_cannot_train_are_refused_in_one_line(monkeypatch, devices, launched, message):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert training_device(CPU) == torch.device("cpu")
    if launched:
        monkeypatch.setenv("WORLD_SIZE", launched)

    with pytest.raises(UserError, match=message) as refusal:
        training_device({**CPU, **devices})

    assert "\n" not in str(refusal.value)


def test_tasks_of_slurm_that_lightning_refuses_are_one_line(monkeypatch):
    for name, value in {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "study", "SLURM_PROCID": "0"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(UserError, match="training cannot run on accelerator cpu: ") as refusal:
        training_device(CPU)

    assert "ntasks" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_normalisation_that_several_gpus_would_lose_is_refused(arrays, train_params):
    lite = build(train_params.model_copy(update={"backbone": "efficientnet_lite0"}), arrays, 0)

    refuse_timm_norm(build(train_params, arrays, 0), 2)
    refuse_timm_norm(lite, 1)
    with pytest.raises(UserError, match="efficientnet_lite0 trains on one GPU alone: use --devices 1"):
        refuse_timm_norm(lite, 2)


@pytest.fixture
def batches(arrays, train_params, cache):
    """Labels and features of all batches of one of several processes, of train and validation."""

    def make(processes, rank):
        torch.manual_seed(0)
        data = FeatureBatches(arrays, build(train_params, arrays, 0).eval(), cache, 8, seed=5)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(world_size=processes, global_rank=rank, strategy=strategy)
        data.prepare_data()
        data.setup("fit")
        train = data.train_dataloader()
        train.sampler.set_epoch(1)
        return list(train), list(data.val_dataloader())

    return make


def test_processes_share_the_batches_of_one(batches, arrays):
    def rows(batch):
        return {(float(features.sum()), int(label)) for features, label, _ in zip(*batch, strict=True)}

    alone, shares = batches(1, 0), [batches(2, rank) for rank in (0, 1)]

    train, halves = alone[0], [share[0] for share in shares]
    assert len(train) == len(halves[0]) == len(halves[1]) == len(arrays.train) // 8
    for whole, one, other in zip(train, *halves, strict=True):
        assert len(one[1]) == len(other[1]) == 4
        assert rows(one) | rows(other) == rows(whole)
    seen = np.concatenate([labels for share in shares for _, labels, _ in share[1]])
    assert sorted(seen) == sorted(arrays.validation.labels)


def test_a_batch_that_cannot_be_shared_names_the_parameter(batches):
    with pytest.raises(UserError, match=r"train.batch_size: 8 images cannot be dealt out to 3 processes"):
        batches(3, 0)
