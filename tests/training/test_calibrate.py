import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from brain_tumor.data.arrays import SplitArrays
from brain_tumor.data.catalog import HEALTHY_INDEX
from brain_tumor.evaluation.conformal import prediction_sets
from brain_tumor.model.predict import logits, probabilities
from brain_tumor.training.calibrate import calibrate, calibrate_volumes
from brain_tumor.training.run import fit


@pytest.fixture
def recipe(train_params):
    return train_params.model_copy(update={"epochs": 1, "class_weights": "none"})


@pytest.fixture
def classifier(arrays, recipe, cache, tmp_path):
    """Trained, and given a bias against the third class."""
    classifier = fit(arrays, recipe, 0, cache, tmp_path).classifier
    classifier.add_to_logits(np.array([0.5, 0, -8, 0]))
    return classifier


def test_a_class_that_was_predicted_too_seldom_is_predicted(classifier, arrays, recipe, cache):
    images, labels = arrays.validation.images, arrays.validation.labels
    before = logits(classifier, images, cache)
    assert not (before.argmax(axis=1) == 2).any()

    calibrate(classifier, arrays.validation, recipe, cache)

    shift = logits(classifier, images, cache) - before
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=0.1)  # the same for every image
    assert probabilities(classifier, images, cache)[:, 2].mean() == pytest.approx((labels == 2).mean(), abs=0.1)


def test_accuracy_and_sets_are_those_of_the_calibrated_model(classifier, arrays, recipe, cache):
    accuracy = calibrate(classifier, arrays.validation, recipe, cache)

    labels = arrays.validation.labels
    predicted = probabilities(classifier, arrays.validation.images, cache)
    assert accuracy == (predicted.argmax(axis=1) == labels).mean()
    for promise, thresholds in classifier.description.prediction_sets.items():
        held = prediction_sets(predicted, thresholds)[np.arange(len(labels)), labels]
        assert held.mean() >= float(promise)


def test_classes_count_alike_where_the_loss_counts_them_alike(classifier, arrays, recipe, cache):
    images, index, labels = arrays.validation.images, arrays.validation.index, arrays.validation.labels
    kept = np.flatnonzero((labels != 2) | (np.arange(len(labels)) % 3 == 0))
    seldom = SplitArrays(images[kept], index.iloc[kept].reset_index(drop=True))
    before = classifier.head.bias.detach().clone()
    shares = {}
    for weights in ("none", "balanced"):
        with torch.no_grad():
            classifier.head.bias.copy_(before)
        calibrate(classifier, seldom, recipe.model_copy(update={"class_weights": weights}), cache)
        shares[weights] = probabilities(classifier, seldom.images, cache)[:, 2].mean()

    assert shares["none"] < shares["balanced"]


def test_the_threshold_of_volumes_parts_the_originals_of_train(classifier, arrays):
    train = arrays.train
    index = train.index.assign(
        path=[f"additional/lgg/x/v_{2 * row}_t1.png" for row in range(len(train))], augmented=np.arange(len(train)) % 2
    )
    calibrate_volumes(classifier, train)
    assert classifier.description.volume_threshold == 0.5  # no volumes in train

    calibrate_volumes(classifier, SplitArrays(train.images, index))

    tumour = 1 - probabilities(classifier, train.images)[::2, HEALTHY_INDEX]
    truth = train.labels[::2] != HEALTHY_INDEX
    false, found, _ = roc_curve(truth, tumour)
    marked = tumour > classifier.description.volume_threshold
    assert marked[truth].mean() - marked[~truth].mean() == pytest.approx((found - false).max())
