"""The train stage, killed, interrupted and in two processes, as a user runs it."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow

MODEL = "models/model.safetensors"


def train(repository, cache, *launcher, **environment):
    """Run the stage to its end; what it says on stderr."""
    command = (sys.executable, *launcher, "stages/train.py")
    return repository.run(*command, BRAIN_TUMOR_CACHE=str(cache), **environment).stderr


def results(repository):
    names = (MODEL, "plots/history.csv", "metrics/train.json")
    return {name: (repository.folder / name).read_bytes() for name in names}


def start_and_signal(repository, cache, number):
    """Start the stage and send a signal when the first epoch is kept; status and stderr."""
    environment = os.environ | {"PYTHONPATH": str(repository.folder / "src"), "BRAIN_TUMOR_CACHE": str(cache)}
    command = [sys.executable, "stages/train.py"]
    process = subprocess.Popen(command, cwd=repository.folder, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(cache.glob("checkpoints/*/last.ckpt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    return process, process.communicate()[1]


@pytest.fixture
def long(repository):
    """The small phantom with a run long enough to be stopped in the middle."""
    repository.set(train__epochs=25, train__patience=25, train__dropout=0.2)
    (repository.folder / MODEL).unlink()
    return repository


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(long, tmp_path, number):
    train(long, tmp_path / "whole")
    whole = results(long)
    (long.folder / MODEL).unlink()

    process, said = start_and_signal(long, tmp_path / "stopped", number)

    assert not (long.folder / MODEL).exists()
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert said.splitlines()[-1].startswith("interrupted: what was finished is kept, `dvc repro` goes on")
        assert "Traceback" not in said
    said = train(long, tmp_path / "stopped")
    assert "resuming from the last finished epoch" in said
    assert "epoch 1 of 25" not in said
    assert results(long) == whole
    assert not list((tmp_path / "stopped" / "checkpoints").iterdir())


def test_a_changed_parameter_starts_afresh(long, tmp_path):
    start_and_signal(long, tmp_path, signal.SIGKILL)
    long.set(train__epochs=2)

    said = train(long, tmp_path)

    assert "resuming" not in said
    assert "epoch 1 of 2" in said


def test_two_processes_give_the_model_of_one(repository, tmp_path):
    repository.set(train__epochs=2, train__dropout=0.0, train__trainable="block5")
    train(repository, tmp_path)
    one = load_file(repository.folder / MODEL)
    (repository.folder / MODEL).unlink()

    said = train(repository, tmp_path, "-m", "torch.distributed.run", "--nproc-per-node", "2", OMP_NUM_THREADS="1")

    two = load_file(repository.folder / MODEL)
    assert said.count("epoch 2 of 2") == 1, "every process writes"
    for name, tensor in one.items():
        torch.testing.assert_close(
            two[name], tensor, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
