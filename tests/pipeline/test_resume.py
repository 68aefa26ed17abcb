"""The train stage, killed, interrupted and in two processes, as a user runs it."""

import json
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


def train(repository, cache):
    """Run the stage to its end; what it says on stderr."""
    return repository.run(sys.executable, "stages/train.py", BRAIN_TUMOR_CACHE=str(cache)).stderr


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


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(long, whole, tmp_path, number):
    process, said = start_and_signal(long, with_features(long, tmp_path / "stopped"), number)

    assert not (long.folder / MODEL).exists()
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert said.splitlines()[-1].startswith("interrupted: what was finished is kept, `dvc repro` goes on")
        assert "Traceback" not in said
    said = train(long, tmp_path / "stopped")
    assert "resuming from the last finished epoch" in said
    assert "epoch 1 of 25" not in said
    assert results(long) == whole
    assert not list((tmp_path / "stopped" / "checkpoints").iterdir())


def test_metrics_are_those_of_the_best_epoch(repository):
    metrics = json.loads((repository.folder / "metrics/train.json").read_text())
    history = pd.read_csv(repository.folder / "plots/history.csv")

    best = history.loc[history["val_loss"].idxmin()]
    for name in ("epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert metrics[name] == pytest.approx(best[name.replace("validation_", "val_")], abs=1e-4)
    assert 0 <= metrics["calibrated_validation_accuracy"] <= 1
    assert metrics["precision"] == "fp32"
