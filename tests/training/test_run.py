from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from brain_tumor.data.catalog import CLASSES
from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier, load_classifier
from brain_tumor.model.predict import probabilities
from brain_tumor.training import run as module
from brain_tumor.training.batches import FeatureDataset
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.callbacks import HISTORY_COLUMNS
from brain_tumor.training.run import build, fit


def test_it_learns_what_can_be_learned(arrays, train_params, cache, tmp_path):
    learnable = train_params.model_copy(update={"epochs": 15, "learning_rate": 1e-2, "patience": 15})

    result = fit(arrays, learnable, 1, cache, tmp_path)

    predicted = probabilities(result.classifier, arrays.test.images, cache)
    assert (predicted.argmax(axis=1) == arrays.test.labels).mean() > 0.8
    assert result.history["train_loss"].iat[-1] < result.history["train_loss"].iat[0]


def test_the_best_epoch_is_kept_and_told(arrays, train_params, cache, tmp_path):
    learnable = train_params.model_copy(update={"epochs": 6, "learning_rate": 1e-2, "patience": 6})
    swapped = arrays.validation.index.replace({"class": dict(zip(CLASSES, CLASSES[::-1], strict=True))})
    arrays = replace(arrays, validation=replace(arrays.validation, index=swapped))  # what is learned is wrong there

    result = fit(arrays, learnable, 1, cache, tmp_path)

    best = result.history["val_loss"].idxmin()
    assert best < len(result.history) - 1, "the last epoch is the best: this case says nothing"
    predicted = probabilities(result.classifier, arrays.validation.images, cache)
    loss = -np.log(predicted[np.arange(len(arrays.validation)), arrays.validation.labels]).mean()
    assert loss == pytest.approx(result.history["val_loss"].min(), rel=1e-4)
    accuracy = (predicted.argmax(axis=1) == arrays.validation.labels).mean()
    row = result.history.loc[best]
    assert result.best_epoch == {
        "epoch": best + 1,
        "train_loss": pytest.approx(row["train_loss"], abs=1e-4),
        "validation_loss": pytest.approx(loss, abs=1e-4),
        "train_accuracy": pytest.approx(row["train_accuracy"], abs=1e-4),
        "validation_accuracy": pytest.approx(accuracy, abs=1e-4),
    }


def test_training_stops_when_validation_does_not_improve_and_every_epoch_is_told(arrays, train_params, cache, tmp_path):
    wild = {"epochs": 20, "learning_rate": 0.5, "patience": 2, "dropout": 0.0, "schedule": "constant", "head": "pooled"}

    history = fit(arrays, train_params.model_copy(update=wild), 1, cache, tmp_path).history

    assert len(history) == int(history["val_loss"].idxmin()) + 3 < 20
    assert tuple(history.columns) == HISTORY_COLUMNS
    assert history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert history.notna().all(axis=None)
    assert history["val_accuracy"].between(0, 1).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"trainable": "head"},
        {"trainable": "block5", "precision": "bf16"},
        {"trainable": "all", "precision": "bf16", "backbone": "resnet18", "head": "pooled"},
    ],
    ids=lambda changes: changes["trainable"],
)
def test_same_parameters_same_bytes_and_another_seed_other_weights(arrays, train_params, cache, tmp_path, changes):
    params, files, last = train_params.model_copy(update={"epochs": 1} | changes), [], []
    for folder, seed in (("first", 7), ("second", 7), ("third", 8)):
        classifier = fit(arrays, params, seed, cache, tmp_path / folder).classifier
        classifier.save(tmp_path / "model")
        files.append((tmp_path / "model").read_bytes())
        last.append(classifier.trained_state()["head.linear.weight" if params.head == "class_map" else "head.4.weight"])

    assert files[0] == files[1]
    assert not torch.equal(last[1], last[2])


def test_frozen_layers_stay_and_others_change(arrays, train_params, cache, tmp_path):
    params = train_params.model_copy(update={"trainable": "block5", "epochs": 1})
    torch.manual_seed(0)

    classifier = fit(arrays, params, 3, cache, tmp_path).classifier

    assert classifier.cut == 24
    start = fit(arrays, params.model_copy(update={"learning_rate": 1e-12}), 3, cache, tmp_path).classifier
    for name, tensor in classifier.trunk.state_dict().items():
        assert torch.allclose(tensor, start.trunk.state_dict()[name], atol=1e-9) == (int(name.split(".")[0]) < 24), name


def test_the_reloaded_model_has_the_score_of_train_and_tells_how_it_was_made(arrays, train_params, cache, tmp_path):
    result = fit(arrays, train_params, 1, cache, tmp_path)
    score = calibrate(result.classifier, arrays.validation, train_params, cache)
    result.classifier.save(tmp_path / "model.safetensors")

    loaded = load_classifier(tmp_path / "model.safetensors")
    predicted = probabilities(loaded, arrays.validation.images, cache)

    accuracy = (predicted.argmax(axis=1) == arrays.validation.labels).mean()
    assert accuracy == score
    study = {"seed": 1, "train": train_params.model_dump(), "split_digest": arrays.split_digest}
    assert loaded.description.study == study


def test_a_loss_that_is_no_number_names_the_parameter(arrays, train_params, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(functional, "cross_entropy", lambda *_, **__: torch.tensor(torch.nan))

    with pytest.raises(UserError, match=r"lower train.learning_rate"):
        fit(arrays, train_params, 0, cache, tmp_path)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_device_that_trains_is_asked_for_its_precision(arrays, train_params, cache, tmp_path, monkeypatch, device):
    """The stand-in for a GPU knows bfloat16 where the processor does not."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    monkeypatch.setattr(module, "training_device", lambda _: torch.device(device))
    monkeypatch.setattr(Classifier, "to", lambda self, *_, **__: self)
    params = train_params.model_copy(update={"precision": "auto", "epochs": 1})

    description = fit(arrays, params, 0, cache, tmp_path).classifier.description

    assert description.precision == {"cpu": "fp32", "cuda": "bf16"}[device]
    assert description.study["train"]["precision"] == "auto"


def test_features_and_labels_must_agree(arrays, train_params, cache):
    features = cache.compute(build(train_params, arrays, 0).eval(), arrays.test.images)

    with pytest.raises(ValueError, match="24 features, 64 labels"):
        FeatureDataset(features, arrays.train.labels)
