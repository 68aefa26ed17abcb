"""The train stage, killed, interrupted and in two processes, as a user runs it."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from pipeline.conftest import copied

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
    process = subprocess.Popen(
        command,
        cwd=repository.folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, Ctrl-C is ignored, and children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list(cache.glob("checkpoints/*/last.ckpt")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    return process, process.communicate()[1]


def with_features(repository, cache):
    """A cache that holds the output of frozen layers, which takes longest, and no state of any run."""
    shutil.copytree(repository.cache / "features", cache / "features")
    return cache


def make_long(repository):
    """Let the run be long enough to be stopped in the middle."""
    repository.set(train__epochs=25, train__patience=25, train__dropout=0.2)
    (repository.folder / MODEL).unlink()
    return repository


@pytest.fixture
def long(repository):
    """The small phantom with a long run, not yet run."""
    return make_long(repository)


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory):
    """Results of the long run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    repository = make_long(copied(finished, folder / "project"))
    train(repository, with_features(repository, folder / "cache"))
    return results(repository)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(long, whole, tmp_path, number):
    process, said = start_and_signal(long, with_features(long, tmp_path / "stopped"), number)

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


def test_two_processes_train_as_one_does(repository, tmp_path):
    """The same images in the same steps, so the same losses.

    Weights are not compared: where a gradient is nothing but rounding, such as that of a bias before a normalisation,
    Adam makes a step of full length of it, in whatever direction. That a single step has the same gradients is tested
    where the normalisation over processes is. At ten times the learning rate such steps made a percent of the loss.
    """
    steps = {"train__epochs": 1, "train__learning_rate": 1e-4, "train__trainable": "block5"}
    repository.set(**steps, train__dropout=0.0, train__style_mixing=0.0)
    train(repository, tmp_path)
    one = pd.read_csv(repository.folder / "plots/history.csv")
    (repository.folder / MODEL).unlink()

    said = train(repository, tmp_path, "-m", "torch.distributed.run", "--nproc-per-node", "2", OMP_NUM_THREADS="1")

    two = pd.read_csv(repository.folder / "plots/history.csv")
    assert said.count("epoch 1 of 1") == 1, "every process writes"
    assert (repository.folder / MODEL).is_file()
    for loss in ("train_loss", "val_loss"):
        assert two[loss].to_list() == pytest.approx(one[loss].to_list(), rel=1e-3)
