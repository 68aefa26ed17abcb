import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from brain_tumor.evaluation.reliability import expected_calibration_error, reliability
from brain_tumor.model.calibration import calibrated, fit_calibration


def drawn(rng, logits):
    """A true class for each image, drawn with the probabilities that the logits mean."""
    return (rng.random((len(logits), 1)) > softmax(logits, axis=1).cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(rng, temperature):
    logits = rng.normal(scale=2, size=(20_000, 4))
    found = fit_calibration(logits * temperature, drawn(rng, logits))
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    np.testing.assert_allclose(found.offsets, 0, atol=0.1 * temperature)


def test_offsets_undo_a_training_set_in_which_classes_were_more_frequent(rng):
    likelihoods = rng.normal(scale=2, size=(20_000, 4))
    prior = np.array([0.4, 0.3, 0.1, 0.2])

    found = fit_calibration(2 * (likelihoods + np.log(prior)), drawn(rng, likelihoods))

    expected = -2 * np.log(prior)
    np.testing.assert_allclose(found.offsets, expected - expected.mean(), atol=0.15)
    assert found.temperature == pytest.approx(2, rel=0.05)


def test_weighted_images_are_repeated_images(rng):
    logits = rng.normal(scale=2, size=(400, 4))
    labels = drawn(rng, logits)
    repeats = np.array([1, 3, 1, 2])

    weighted = fit_calibration(logits, labels, repeats)
    repeated = fit_calibration(np.repeat(logits, repeats[labels], axis=0), np.repeat(labels, repeats[labels]))

    np.testing.assert_allclose(weighted.offsets, repeated.offsets, atol=1e-4)
    assert weighted.temperature == pytest.approx(repeated.temperature, rel=1e-4)


def test_penalised_log_loss_is_smallest_there(rng):
    logits = rng.normal(scale=3, size=(300, 4))
    labels = drawn(rng, logits / 3)
    best = fit_calibration(logits, labels)

    def loss(temperature, offsets):
        biases = offsets / temperature
        return log_loss(labels, calibrated(logits + offsets, temperature), normalize=False) + biases @ biases / 2

    least = loss(best.temperature, best.offsets)
    assert all(least < loss(best.temperature * factor, best.offsets * factor) for factor in (0.95, 1.05))
    assert all(least < loss(best.temperature, best.offsets + step) for step in 0.1 * np.vstack([np.eye(4), -np.eye(4)]))
    assert best.temperature == pytest.approx(fit_calibration(logits + 7, labels).temperature, rel=1e-4)


def test_few_images_move_little():
    logits = np.eye(4) * 5
    for labels in (np.arange(4), (np.arange(4) + 1) % 4):
        np.testing.assert_allclose(fit_calibration(logits, labels).offsets, 0, atol=1e-3)
    one = fit_calibration(np.zeros((1, 4)), [2])
    assert (one.offsets / one.temperature).max() < 1


def test_temperature_of_the_all_right_and_all_wrong_is_an_end_of_the_range():
    logits = np.eye(4) * 5
    many = np.tile(np.arange(4), 30_000)  # few say less, so that the search ends sooner; how soon, differs by processor
    temperature = fit_calibration(logits[many], many).temperature
    assert 0.05 <= temperature < 0.2  # the loss is nil from there on
    assert log_loss(many, calibrated(logits[many], temperature)) < 1e-8
    assert fit_calibration(logits, (np.arange(4) + 1) % 4).temperature == pytest.approx(20, rel=0.01)


def test_probabilities_are_a_softmax(rng):
    logits = rng.normal(scale=3, size=(300, 4))
    np.testing.assert_array_equal(calibrated(logits, 3).argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(calibrated(logits, 3).sum(axis=1), 1)


@pytest.mark.parametrize(
    ("logits", "labels"), [(np.empty((0, 4)), []), (np.zeros(4), [0]), (np.zeros((2, 4)), [0]), ([[np.nan, 0]], [0])]
)
def test_calibration_refuses_what_it_cannot_fit(logits, labels):
    with pytest.raises(ValueError, match="expected"):
        fit_calibration(logits, np.array(labels, int))


def test_error_is_zero_when_calibrated_and_known_when_not(rng):
    confidence = rng.uniform(0.5, 1.0, 200_000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    honest = (rng.random(200_000) > confidence).astype(int)
    bragging = (rng.random(200_000) > confidence - 0.2).astype(int)
    order = rng.permutation(200_000)

    error = expected_calibration_error(probabilities, honest)

    assert error == pytest.approx(0, abs=0.01)
    assert error == pytest.approx(expected_calibration_error(probabilities[order], honest[order]), abs=1e-12)
    assert expected_calibration_error(probabilities, bragging) == pytest.approx(0.2, abs=0.01)


def test_bins_are_those_of_scikit_learn(rng):
    confidence = rng.uniform(0.5, 1.0, 1500)
    labels = (rng.random(1500) > confidence**2).astype(int)
    table = reliability(np.stack([confidence, 1 - confidence], axis=1), labels, bins=15)
    accuracy, mean = calibration_curve(labels == 0, confidence, n_bins=15, strategy="quantile")
    assert table["images"].tolist() == [100] * 15
    np.testing.assert_allclose(table["confidence"], mean)
    np.testing.assert_allclose(table["accuracy"], accuracy)


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.6, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=40))
def test_images_of_equal_confidence_share_a_bin_and_none_is_lost(cases):
    confidence, labels = map(np.array, zip(*cases, strict=True))
    table = reliability(np.stack([confidence, 1 - confidence], axis=1), labels, bins=5)
    assert table["images"].sum() == len(cases)
    assert len(table) <= min(5, len(np.unique(confidence)))
    right = (table["accuracy"] * table["images"]).sum()
    assert right == pytest.approx((np.where(confidence >= 0.5, 0, 1) == labels).sum())
    assert 0 <= expected_calibration_error(np.stack([confidence, 1 - confidence], axis=1), labels, 5) <= 1


def test_one_image_right_and_wrong():
    assert expected_calibration_error([[0.7, 0.3]], [0]) == pytest.approx(0.3)
    assert expected_calibration_error([[0.7, 0.3]], [1]) == pytest.approx(0.7)
    with pytest.raises(ValueError, match="expected"):
        expected_calibration_error(np.empty((0, 2)), [])
