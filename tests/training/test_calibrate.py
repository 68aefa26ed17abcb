from dataclasses import replace

import numpy as np
import pytest
import torch

from brain_tumor.evaluation.conformal import prediction_sets
from brain_tumor.model.features import Features
from brain_tumor.model.predict import logits, predict
from brain_tumor.training.batches import FeatureDataset
from brain_tumor.training.calibrate import calibrate
from brain_tumor.training.run import fit


@pytest.fixture
def recipe(train_params):
    return train_params.model_copy(update={"epochs": 1, "class_weights": "none"})


@pytest.fixture
def result(arrays, recipe, cache, tmp_path):
    """A run whose classifier was given a bias against the third class."""
    result = fit(arrays, recipe, 0, cache, tmp_path)
    result.classifier.add_to_logits(np.array([0.5, 0, -8, 0]))
    return result


def test_a_class_that_was_called_too_seldom_is_called(result, recipe):
    classifier, features, labels = result.classifier, result.validation.features, result.validation.labels
    before = logits(classifier, features)
    assert not (before.argmax(axis=1) == 2).any()

    calibrate(result, recipe)

    shift = logits(classifier, features) - before
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=0.1)  # the same for every image
    assert predict(classifier, features)[:, 2].mean() == pytest.approx((labels == 2).mean(), abs=0.1)


def test_accuracy_and_sets_are_those_of_the_calibrated_model(result, recipe):
    accuracy = calibrate(result, recipe)

    labels = result.validation.labels
    probabilities = predict(result.classifier, result.validation.features)
    assert accuracy == (probabilities.argmax(axis=1) == labels).mean()
    for promise, thresholds in result.classifier.description.prediction_sets.items():
        held = prediction_sets(probabilities, thresholds)[np.arange(len(labels)), labels]
        assert held.mean() >= float(promise)


def test_classes_count_alike_where_the_loss_counts_them_alike(result, recipe):
    features, labels = result.validation.features, result.validation.labels
    kept = np.flatnonzero((labels != 2) | (np.arange(len(labels)) % 3 == 0))
    seldom = FeatureDataset(Features(features.blocks, features.places[kept]), labels[kept])
    before = result.classifier.head[-1].bias.detach().clone()
    shares = {}
    for weights in ("none", "balanced"):
        with torch.no_grad():
            result.classifier.head[-1].bias.copy_(before)
        calibrate(replace(result, validation=seldom), recipe.model_copy(update={"class_weights": weights}))
        shares[weights] = predict(result.classifier, seldom.features)[:, 2].mean()

    assert shares["none"] < shares["balanced"]
