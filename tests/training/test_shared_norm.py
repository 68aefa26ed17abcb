"""Batch normalisation over two processes is that of one process over the batch of both."""

import pytest
import torch
from torch import distributed, multiprocessing, nn

from brain_tumor.training.shared_norm import SharedBatchNorm

IMAGES = 8
NETWORKS = {
    "features": lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
    "maps": lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
}
SHAPES = {"features": (6,), "maps": (2, 6, 6)}


def network(name):
    torch.manual_seed(5)
    return NETWORKS[name]().train()


def batch(name):
    """Inputs whose two halves have another mean and spread, so that statistics of a half are wrong; and labels."""
    generator = torch.Generator().manual_seed(6)
    values = torch.randn(IMAGES, *SHAPES[name], generator=generator)
    values[::2] = 3 * values[::2] + 2
    return values, torch.arange(IMAGES) % 3


def step(model, values, labels):
    """Mean loss; gradients stay in the model."""
    loss = nn.functional.cross_entropy(model(values), labels)
    loss.backward()
    return loss.detach()


def state(model):
    gradients = {f"{name}.grad": value.grad for name, value in model.named_parameters()}
    return gradients | {name: value.clone() for name, value in model.named_buffers()}


def work(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    for name in NETWORKS:
        model, (values, labels) = network(name), batch(name)
        plugin = SharedBatchNorm()
        loss = step(plugin.apply(model), values[rank::2], labels[rank::2])
        plugin.revert(model)
        found = state(model) | {"loss": loss}
        for key, value in found.items():
            if key == "loss" or key.endswith(".grad"):  # as Lightning does after each step
                distributed.all_reduce(value)
                value /= 2
        torch.save(found, f"{folder}/{name}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(tmp_path):
    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=2)

    for name in NETWORKS:
        model, (values, labels) = network(name), batch(name)
        expected = {"loss": step(model, values, labels)} | state(model)
        apart = network(name)
        step(apart, values[::2], labels[::2])
        assert not torch.allclose(state(apart)["1.running_mean"], expected["1.running_mean"], atol=1e-2)
        for rank in (0, 1):
            found = torch.load(tmp_path / f"{name}-{rank}.pt", weights_only=True)
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                torch.testing.assert_close(
                    found[key], value, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: key + text
                )
