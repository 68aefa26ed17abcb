import pytest
import torch

from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.model.classifier import Classifier, Description


@pytest.fixture
def describe():
    """Description of a small-image VGG16, with changes."""

    def make(**changes):
        values = {
            "classes": CLASSES,
            "reader": Reader(size=64),
            "backbone": "vgg16",
            "head": "pooled",
            "trainable": "block5",
            "precision": "fp32",
            "dropout": 0.4,
        }
        return Description(**(values | changes))

    return make


@pytest.fixture
def classifier(describe):
    torch.manual_seed(0)
    return Classifier(describe()).eval()


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
