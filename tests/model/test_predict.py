import numpy as np
import pytest
import torch

from brain_tumor.model.classifier import Classifier
from brain_tumor.model.predict import logits, probabilities


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (70, 64, 64), dtype=np.uint8)


@pytest.mark.parametrize("trainable", ["block5", "all"])
def test_logits_are_the_networks(describe, images, trainable):
    classifier = Classifier(describe(trainable=trainable)).eval()
    with torch.no_grad():
        expected = classifier(torch.from_numpy(images)).double().numpy()

    # Not closer, because features are kept in half precision.
    np.testing.assert_allclose(logits(classifier, images), expected, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("trainable", ["block5", "all"])
def test_a_cache_changes_nothing(describe, images, cache, trainable):
    classifier = Classifier(describe(trainable=trainable)).eval()

    computed = logits(classifier, images)

    np.testing.assert_array_equal(logits(classifier, images, cache), computed)
    np.testing.assert_array_equal(logits(classifier, images, cache), computed)


def test_temperature_softens_but_keeps_the_order(describe, images, cache):
    sharp = Classifier(describe()).eval()
    soft = Classifier(describe(temperature=3.0)).eval()
    soft.load_state_dict(sharp.state_dict())

    one, three = probabilities(sharp, images, cache), probabilities(soft, images, cache)

    np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.diff(np.log(three), axis=1), np.diff(np.log(one), axis=1) / 3, atol=1e-9)
    assert np.array_equal(one.argsort(axis=1), three.argsort(axis=1))


def test_training_mode_is_refused(describe, images):
    with pytest.raises(ValueError, match="training mode"):
        probabilities(Classifier(describe()), images)
