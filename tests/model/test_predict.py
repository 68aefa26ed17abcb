import numpy as np
import pytest
import torch

from brain_tumor.model.classifier import Classifier
from brain_tumor.model.predict import predict


class Given:
    """Features at hand."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def gather(self, rows):
        return self.values[rows]


@pytest.fixture
def features():
    return Given(torch.rand(70, 512, 2, 2))


def test_probabilities_are_the_softmax_of_the_logits(describe, features):
    classifier = Classifier(describe()).eval()
    with torch.no_grad():
        expected = torch.softmax(classifier.tail(features.values), dim=1)

    probabilities = predict(classifier, features)

    np.testing.assert_allclose(probabilities, expected.numpy(), rtol=1e-4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)


def test_temperature_softens_but_keeps_the_order(describe, features):
    sharp = Classifier(describe()).eval()
    soft = Classifier(describe(temperature=3.0)).eval()
    soft.load_state_dict(sharp.state_dict())

    one, three = predict(sharp, features), predict(soft, features)

    np.testing.assert_allclose(np.diff(np.log(three), axis=1), np.diff(np.log(one), axis=1) / 3, atol=1e-9)
    assert np.array_equal(one.argsort(axis=1), three.argsort(axis=1))


def test_training_mode_is_refused(describe, features):
    with pytest.raises(ValueError, match="training mode"):
        predict(Classifier(describe()), features)
