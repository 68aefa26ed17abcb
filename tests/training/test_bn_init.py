"""Batch normalisation put behind convolutions that were trained without."""

import pytest
import torch
from torch import nn

from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.model.classifier import Classifier, Description
from brain_tumor.training.bn_init import initialise_normalisations


@pytest.fixture(params=["block5", "block4"])
def classifier(request):
    torch.manual_seed(0)
    description = Description(
        classes=CLASSES,
        reader=Reader(size=64),
        backbone="vgg16_bn",
        head="pooled",
        trainable=request.param,
        precision="fp32",
        dropout=0.0,
    )
    return Classifier(description)


@pytest.fixture
def features(classifier):
    pixels = torch.randint(0, 256, (24, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return classifier.eval().front(pixels)


def test_training_starts_with_what_the_convolutions_compute(classifier, features):
    idle = classifier.eval().activations(features).detach()
    assert not torch.allclose(classifier.train().activations(features), idle, rtol=0.1), "nothing to mend"

    initialise_normalisations(classifier, features)

    for mode in (True, False):
        torch.testing.assert_close(classifier.train(mode).activations(features), idle, rtol=1e-3, atol=1e-4)


def test_running_statistics_are_those_of_what_reaches_a_layer_and_all_else_stays(classifier, features):
    frozen = {name: value.clone() for name, value in classifier.trunk[: classifier.cut].state_dict().items()}

    initialise_normalisations(classifier.train(), features)

    assert classifier.training
    for name, value in classifier.trunk[: classifier.cut].state_dict().items():
        assert torch.equal(value, frozen[name])
    classifier.eval()
    first = next(module for module in classifier.trunk[classifier.cut :] if isinstance(module, nn.BatchNorm2d))
    reaches = classifier.trunk[classifier.cut](features)
    torch.testing.assert_close(first.running_mean, reaches.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, reaches.var((0, 2, 3), correction=0), rtol=1e-4, atol=1e-5)
