import os
import pickle

import lightning
import pytest
import torch

from brain_tumor.errors import UserError
from brain_tumor.training import checkpoint as module
from brain_tumor.training.checkpoint import AtomicCheckpoints, EpochCheckpoint, code_digests, run_key
from brain_tumor.training.run import build, fit
from brain_tumor.training.task import ClassificationTask


class Stop(Exception):
    """Ends a run as a crash would: nothing of Lightning's shutdown writes a file."""


def saved(result, path):
    result.classifier.save(path)
    return path.read_bytes(), result.history.to_csv()


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
def test_a_stopped_run_ends_with_the_same_bytes(arrays, train_params, cache, tmp_path, monkeypatch, schedule):
    params = train_params.model_copy(update={"epochs": 4, "schedule": schedule, "learning_rate": 3e-3})
    whole = saved(fit(arrays, params, 3, cache, tmp_path / "whole"), tmp_path / "a")
    epochs = []
    with monkeypatch.context() as patch:
        crash_in(patch, 2)
        with pytest.raises(Stop):
            fit(arrays, params, 3, cache, tmp_path / "stopped")
    with monkeypatch.context() as patch:
        count_epochs(patch, epochs)
        again = saved(fit(arrays, params, 3, cache, tmp_path / "stopped"), tmp_path / "b")

    assert epochs == [2, 3]
    assert again == whole


def test_a_changed_parameter_starts_afresh(arrays, train_params, cache, tmp_path, monkeypatch):
    epochs = []
    with monkeypatch.context() as patch:
        crash_in(patch, 2)
        with pytest.raises(Stop):
            fit(arrays, train_params, 3, cache, tmp_path)
    count_epochs(monkeypatch, epochs)

    fit(arrays, train_params.model_copy(update={"dropout": 0.1}), 3, cache, tmp_path)

    assert epochs == [0, 1, 2]


def test_a_run_that_had_ended_is_not_trained_again(arrays, train_params, cache, tmp_path, monkeypatch):
    params = train_params.model_copy(update={"epochs": 12, "patience": 1, "learning_rate": 0.5, "schedule": "constant"})
    first = saved(fit(arrays, params, 3, cache, tmp_path), tmp_path / "a")
    assert len(first[1].splitlines()) - 1 < 12, "not stopped early: this case says nothing"
    epochs = []
    count_epochs(monkeypatch, epochs)

    again = fit(arrays, params, 3, cache, tmp_path)

    assert epochs == []
    assert saved(again, tmp_path / "b") == first
    again.checkpoint.remove()
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("change", ["learning_rate", "seed", "image", "label", "code", "weights"])
def test_the_key_follows_what_decides_the_run(arrays, train_params, monkeypatch, change):
    def key():
        torch.manual_seed(0)
        classifier = build(params, arrays, seed)
        if change == "weights" and changed:
            classifier.state_dict()["trunk.0.bias"] += 1
        return run_key(classifier, arrays, params, seed)

    params, seed, changed = train_params, 1, False
    before = key()
    assert key() == before
    changed = True
    if change == "learning_rate":
        params = params.model_copy(update={"learning_rate": 0.123})
    elif change == "seed":
        seed = 2
    elif change == "image":
        arrays.train.images[0, 0, 0] ^= 1
    elif change == "label":
        arrays.validation.index.loc[0, "class"] = "notumor"
    elif change == "code":
        digests = {**code_digests(module.PACKAGE), "training/task.py": "another"}
        monkeypatch.setattr(module, "code_digests", lambda _: digests)

    assert key() != before


def test_code_of_model_and_training_counts():
    names = set(code_digests(module.PACKAGE))

    assert {"model/classifier.py", "training/task.py", "training/checkpoint.py"} <= names
    assert not any(name.startswith(("data", "serving")) for name in names)


def test_a_damaged_checkpoint_is_named(arrays, train_params, cache, tmp_path):
    result = fit(arrays, train_params, 3, cache, tmp_path)
    path = result.checkpoint.path
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(UserError, match=r"last\.ckpt is no whole checkpoint .*: delete it"):
        fit(arrays, train_params, 3, cache, tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"epoch": Harmful()}, tmp_path / "a.ckpt", pickle_module=pickle)

    with pytest.raises(UserError, match="no whole checkpoint"):
        AtomicCheckpoints().load_checkpoint(tmp_path / "a.ckpt", weights_only=False)

    assert not (tmp_path / "made").exists()


def test_abandoned_runs_make_room(arrays, train_params, cache, tmp_path):
    parent = tmp_path / "checkpoints"
    for number in range(10):
        EpochCheckpoint(parent, str(number)).folder.mkdir(parents=True)
        os.utime(parent / str(number), (number, number))

    fit(arrays, train_params, 3, cache, tmp_path)

    assert {folder.name for folder in parent.iterdir() if len(folder.name) == 1} == {"3", "4", "5", "6", "7", "8", "9"}


def crash_in(patch, epoch):
    """Let a run end in the first step of an epoch, counted from 0, without anything of Lightning's shutdown."""
    original = ClassificationTask.training_step

    def step(self, batch):
        if self.current_epoch == epoch:
            raise Stop
        return original(self, batch)

    patch.setattr(ClassificationTask, "training_step", step)


def count_epochs(patch, epochs):
    """Note which epochs are trained, counted from 0."""
    original = lightning.LightningModule.on_train_epoch_start

    def start(self):
        epochs.append(self.current_epoch)
        original(self)

    patch.setattr(ClassificationTask, "on_train_epoch_start", start)
