import os
import pickle
from pathlib import Path

import lightning
import pytest
import torch

from brain_tumor.errors import UserError
from brain_tumor.training import checkpoint as module
from brain_tumor.training.checkpoint import AtomicCheckpoints, code_digests, drop_damaged, resumable, run_folder
from brain_tumor.training.run import build, fit
from brain_tumor.training.task import ClassificationTask


class Stop(Exception):
    """Ends a run as a crash would: nothing of Lightning's shutdown writes a file."""


def saved(result, path):
    result.classifier.save(path)
    return path.read_bytes(), result.history.to_csv()


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "constant"])
@pytest.mark.parametrize("place", ["in an epoch", "between the checkpoints of an epoch"])
def test_a_stopped_run_ends_with_the_same_bytes(arrays, train_params, cache, tmp_path, monkeypatch, schedule, place):
    params = train_params.model_copy(update={"epochs": 4, "schedule": schedule, "learning_rate": 3e-3})
    whole = saved(fit(arrays, params, 3, cache, tmp_path / "whole"), tmp_path / "a")
    crash(arrays, params, cache, tmp_path / "stopped", monkeypatch, place)
    epochs = count_epochs(monkeypatch)

    again = saved(fit(arrays, params, 3, cache, tmp_path / "stopped"), tmp_path / "b")

    assert epochs == [2, 3]
    assert again == whole


@pytest.mark.parametrize("change", ["parameter", "place"])
def test_what_has_changed_starts_afresh(arrays, train_params, cache, tmp_path, monkeypatch, change):
    crash(arrays, train_params, cache, tmp_path / "before", monkeypatch)
    folder, params = tmp_path / "before", train_params
    if change == "parameter":
        params = train_params.model_copy(update={"dropout": 0.1})
    else:
        folder = (tmp_path / "before").rename(tmp_path / "after")
    epochs = count_epochs(monkeypatch)

    fit(arrays, params, 3, cache, folder)

    assert epochs == [0, 1, 2]


def test_a_run_that_had_ended_is_not_trained_again(arrays, train_params, cache, tmp_path, monkeypatch):
    params = train_params.model_copy(update={"epochs": 12, "patience": 1, "learning_rate": 0.5, "schedule": "constant"})
    first = saved(fit(arrays, params, 3, cache, tmp_path), tmp_path / "a")
    assert len(first[1].splitlines()) - 1 < 12, "not stopped early: this case says nothing"
    epochs = count_epochs(monkeypatch)

    again = fit(arrays, params, 3, cache, tmp_path)

    assert epochs == []
    assert saved(again, tmp_path / "b") == first
    again.forget()
    assert not list((tmp_path / "checkpoints").iterdir())


@pytest.mark.parametrize("change", ["learning_rate", "seed", "image", "label", "code", "weights", "precision"])
def test_the_folder_follows_what_decides_the_run(arrays, train_params, monkeypatch, tmp_path, change):
    def folder():
        torch.manual_seed(0)
        classifier = build(params, arrays, seed)
        if change == "weights" and changed:
            classifier.state_dict()["trunk.0.bias"] += 1
        return run_folder(tmp_path, classifier, arrays)

    params, seed, changed = train_params.model_copy(update={"precision": "auto"}), 1, False
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": changed and change == "precision"})
    before = folder()
    assert folder() == before
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

    assert folder() != before


def test_code_of_model_and_training_counts():
    names = set(code_digests(module.PACKAGE))

    assert {"model/classifier.py", "training/task.py", "training/checkpoint.py"} <= names
    assert not any(name.startswith(("data", "serving")) for name in names)


def test_checkpoints_hold_trained_layers_alone(arrays, train_params, cache, tmp_path):
    result = fit(arrays, train_params, 3, cache, tmp_path)
    trained = {f"classifier.{name}" for name in result.classifier.trained_state()}

    checkpoints = sorted(result.folder.glob("*.ckpt"))
    assert [path.name for path in checkpoints] == ["best.ckpt", "last.ckpt"]
    for path in checkpoints:
        assert AtomicCheckpoints().load_checkpoint(path)["state_dict"].keys() == trained


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
@pytest.mark.parametrize("place", [0, 40, 0.4, 0.9, None])
def test_after_a_damaged_checkpoint_training_starts_afresh(
    arrays, train_params, cache, tmp_path, monkeypatch, caplog, name, place
):
    params = train_params.model_copy(update={"epochs": 2})
    whole = saved(fit(arrays, params, 3, cache, tmp_path), tmp_path / "a")
    (path,) = tmp_path.glob(f"checkpoints/*/{name}")
    content = bytearray(path.read_bytes())
    if place is None:
        del content[-100:]
    else:
        content[int(place * len(content)) if place < 1 else place] ^= 4
    path.write_bytes(content)
    epochs = count_epochs(monkeypatch)

    again = saved(fit(arrays, params, 3, cache, tmp_path), tmp_path / "b")

    assert epochs == [0, 1]
    assert again == whole
    assert f"{name} is damaged or gone: training starts from the beginning" in caplog.text


def test_a_best_epoch_that_is_gone_is_trained_again(arrays, train_params, cache, tmp_path, caplog):
    params = train_params.model_copy(update={"epochs": 2})
    whole = saved(fit(arrays, params, 3, cache, tmp_path), tmp_path / "a")
    (path,) = tmp_path.glob("checkpoints/*/best.ckpt")
    path.unlink()

    assert saved(fit(arrays, params, 3, cache, tmp_path), tmp_path / "b") == whole
    assert "best.ckpt is damaged or gone: training starts from the beginning" in caplog.text


def test_two_trainings_of_the_same_refuse_each_other(arrays, train_params, cache, tmp_path):
    first = fit(arrays, train_params, 3, cache, tmp_path)

    with pytest.raises(UserError, match="belongs to another process that trains the same: wait for it or stop it"):
        fit(arrays, train_params, 3, cache, tmp_path)
    fit(arrays, train_params, 4, cache, tmp_path)  # another seed is another run

    first.forget()
    assert not first.folder.exists()
    fit(arrays, train_params, 3, cache, tmp_path)


def test_a_run_that_failed_holds_nothing(arrays, train_params, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(ClassificationTask, "training_step", lambda *_: stop())
    with pytest.raises(Stop) as kept:  # as a notebook keeps the last traceback
        fit(arrays, train_params, 3, cache, tmp_path)
    monkeypatch.undo()

    fit(arrays, train_params, 3, cache, tmp_path)

    assert kept.tb


def stop():
    raise Stop


@pytest.mark.parametrize("damage", [None, "best.ckpt", "last.ckpt"])
def test_processes_of_a_run_agree_whether_it_goes_on(arrays, train_params, cache, tmp_path, monkeypatch, damage):
    """However far the first has come with deleting what is damaged, another starts as the first does."""
    folder = fit(arrays, train_params, 3, cache, tmp_path).folder
    if damage:
        (folder / damage).write_bytes(b"cut")
    agreed = folder / "last.ckpt" if damage is None else None
    unlink, seen = Path.unlink, []

    def unlink_and_look(path, **options):
        seen.append(resumable(folder))
        unlink(path, **options)
        seen.append(resumable(folder))

    monkeypatch.setattr(Path, "unlink", unlink_and_look)
    drop_damaged(folder)

    assert resumable(folder) == agreed
    assert set(seen) == (set() if damage is None else {None})


def test_a_checkpoint_runs_no_code(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    AtomicCheckpoints().save_checkpoint({"epoch": Harmful()}, tmp_path / "a.ckpt")

    with pytest.raises(pickle.UnpicklingError):
        AtomicCheckpoints().load_checkpoint(tmp_path / "a.ckpt", weights_only=False)

    assert not (tmp_path / "made").exists()


def test_abandoned_runs_make_room(arrays, train_params, cache, tmp_path):
    parent = tmp_path / "checkpoints"
    for number in range(10):
        (parent / str(number)).mkdir(parents=True)
        os.utime(parent / str(number), (number, number))

    fit(arrays, train_params.model_copy(update={"epochs": 1}), 3, cache, tmp_path)

    assert {folder.name for folder in parent.iterdir() if len(folder.name) == 1} == {"3", "4", "5", "6", "7", "8", "9"}


def crash(arrays, params, cache, folder, monkeypatch, place="in an epoch"):
    """Let a run end in its third epoch, without anything of Lightning's shutdown."""
    step, save = ClassificationTask.training_step, AtomicCheckpoints.save_checkpoint

    def stop_in_step(self, batch):
        if self.current_epoch == 2:
            raise Stop
        return step(self, batch)

    def stop_in_save(self, checkpoint, path, **_):
        if checkpoint["epoch"] == 2 and path.endswith("last.ckpt"):
            raise Stop
        save(self, checkpoint, path)

    with monkeypatch.context() as patch:
        if place == "in an epoch":
            patch.setattr(ClassificationTask, "training_step", stop_in_step)
        else:
            patch.setattr(AtomicCheckpoints, "save_checkpoint", stop_in_save)
        with pytest.raises(Stop):
            fit(arrays, params, 3, cache, folder)


def count_epochs(monkeypatch):
    """A list that will hold which epochs are trained, counted from 0."""
    epochs, original = [], lightning.LightningModule.on_train_epoch_start

    def start(self):
        epochs.append(self.current_epoch)
        original(self)

    monkeypatch.setattr(ClassificationTask, "on_train_epoch_start", start)
    return epochs
