import numpy as np
import pytest
import torch

from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX
from brain_tumor.data.images import Reader
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.model.class_map import ClassMapHead, evidence_of
from brain_tumor.model.classifier import Classifier, Description

CHANNELS, SIDE = 6, 5


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = ClassMapHead(CHANNELS, len(CLASSES), 0.2).eval()
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.3, -0.2, 0.5, 0.1]))
    return head


@pytest.fixture
def activations():
    return torch.randn(3, CHANNELS, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_picture_logits_are_those_of_the_definition(head, activations):
    with torch.no_grad():
        logits, cells = head(activations).double(), head.cells(activations).double()
    for image in range(3):
        for label in range(len(CLASSES)):
            if label == HEALTHY_INDEX:
                expected = head.bias[label].double()
            else:
                evidence = cells[image, label] - cells[image, HEALTHY_INDEX]
                expected = evidence.exp().sum().log() - 0.5 * np.log(SIDE**2) + head.bias[label].double()
            assert logits[image, label].item() == pytest.approx(expected.item(), abs=1e-5)


def test_grad_cam_is_the_evidence_where_it_is_above_0(head, activations):
    evidence = evidence_of(head.cells(activations)).detach()
    for label in range(len(CLASSES)):
        maps = grad_cam(lambda values: values, head, activations, torch.full((3,), label))
        expected = evidence[:, label].relu().numpy() / SIDE**2
        np.testing.assert_allclose(maps, expected, atol=1e-6)
        assert (maps.max() > 0) == (label != HEALTHY_INDEX)


def test_one_cell_with_a_tumour_is_enough(head):
    quiet = torch.zeros(1, CHANNELS, SIDE, SIDE)
    weight = head.linear.weight[:, :, 0, 0]
    direction = weight[0] - weight[HEALTHY_INDEX]
    tumour = quiet.clone()
    tumour[0, :, 2, 3] = 40 * direction / direction.norm()
    assert head(quiet).argmax() == HEALTHY_INDEX or head(quiet)[0, 0] < head(tumour)[0, 0]
    assert head(tumour)[0, 0] > head(tumour)[0, HEALTHY_INDEX]


@pytest.mark.parametrize("trainable", ["head", "block5"])
def test_a_classifier_with_it_normalises_before_the_explained_layer(trainable):
    torch.manual_seed(0)
    classifier = Classifier(
        Description(
            classes=CLASSES,
            reader=Reader(size=64),
            backbone="resnet18",
            head="class_map",
            trainable=trainable,
            precision="fp32",
            dropout=0.2,
        )
    ).eval()
    pixels = torch.randint(0, 256, (2, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        before = classifier(pixels)
        activations = classifier.activations(classifier.front(pixels))
        assert torch.equal(classifier.classify(activations), before)
        classifier.add_to_logits(np.array([0.5, 0, -0.5, 0]))
        moved = classifier(pixels) - before
    np.testing.assert_allclose(moved.numpy(), np.tile([0.5, 0, -0.5, 0], (2, 1)), atol=1e-6)
    assert any(name.startswith("neck.") for name in classifier.trained_state())
