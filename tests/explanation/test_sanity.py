from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from skimage.metrics import structural_similarity
from torch import nn

from brain_tumor.explanation.gradcam import METHODS, grad_cam
from brain_tumor.explanation.sanity import (
    OTHER,
    cascade,
    layers_with_weights,
    maps_from_pixels,
    randomization_curve,
    randomization_summary,
    similarity,
)
from brain_tumor.model.classifier import HEADS
from brain_tumor.training.run import build


class Small(nn.Module):
    """A classifier in miniature, with a frozen front."""

    description, cut = SimpleNamespace(precision="fp32"), 2

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(6), nn.Linear(6, 3))

    def front(self, pixels):
        return self.trunk[:2](pixels[:, None].float() / 255)

    def activations(self, features):
        return self.trunk[2:](features)

    def classify(self, activations):
        return self.head(activations)


@pytest.fixture
def network():
    torch.manual_seed(1)
    return Small().eval()


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (20, 16, 16), dtype=np.uint8)


def test_the_cascade_goes_from_the_logits_down_and_leaves_the_original_alone(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = [name for name, _ in layers_with_weights(network)]
    assert names == ["trunk.0", "trunk.2", "head.2", "head.3"]

    for step, layer, changed in cascade(network, seed=3):
        changed_layers = {
            name.rsplit(".", 1)[0]
            for name, tensor in changed.state_dict().items()
            if name.endswith("weight") and not torch.equal(tensor, before[name])
        }
        # Batch normalisation that was never trained is reset to what it is.
        assert changed_layers == set(names[len(names) - step :]) - {"head.2"}
        assert layer == ("nothing" if step == 0 else names[-step])
    assert step == len(names)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("head", HEADS)
def test_every_head_can_be_made_random(train_params, arrays, head):
    changes = {"backbone": "vgg16", "head": head, "trainable": "block5"}
    classifier = build(train_params.model_copy(update=changes), arrays, 0).eval()

    *_, (step, layer, changed) = cascade(classifier, seed=3)

    assert (step, layer) == (len(layers_with_weights(classifier)), "trunk.0")
    assert not torch.equal(changed.trunk[0].weight, classifier.trunk[0].weight)


def test_the_curve_starts_at_1_and_falls(network, images):
    state = torch.random.get_rng_state()
    targets = np.arange(20) % 3
    table = randomization_curve(network, images, targets, "gradcam", seed=3)

    assert table["step"].tolist()[:-1] == [0, 1, 2, 3, 4]
    assert table["layer"].iloc[-1] == OTHER
    assert table[["ssim", "rank_correlation"]].iloc[0].tolist() == pytest.approx([1, 1])
    assert table["rank_correlation"].iloc[1:].max() < 0.95
    assert randomization_summary(table)["ssim"]["all_random"] == pytest.approx(table["ssim"].iloc[-2], abs=1e-4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert randomization_curve(network, images, targets, "gradcam", seed=3).equals(table)
    alone = randomization_curve(network, images[:1], targets[:1], "gradcam", seed=3)
    assert alone["ssim"].isna().tolist() == [False] * 5 + [True]  # there is no other image


@pytest.mark.parametrize("method", METHODS)
def test_maps_from_pixels_are_those_from_features(network, images, method):
    targets = np.arange(20) % 3
    with torch.no_grad():
        features = network.front(torch.from_numpy(images))
    expected = grad_cam(network.activations, network.classify, features, torch.from_numpy(targets), method)
    np.testing.assert_allclose(maps_from_pixels(network, images, targets, method), expected, rtol=1e-4, atol=1e-6)


def test_similarity_agrees_with_its_definitions(rng):
    first, second = rng.random((2, 3, 16, 16), dtype=np.float32)
    first[:, 0, 0], second[:, 0, 0] = 1, 1  # so that scaling changes nothing
    structure, ranks = similarity(first, second, 16)
    by_hand = [np.corrcoef(rankdata(a), rankdata(b))[0, 1] for a, b in zip(first, second, strict=True)]
    assert ranks == pytest.approx(np.mean(by_hand))
    expected = [structural_similarity(a, b, data_range=1) for a, b in zip(first, second, strict=True)]
    assert structure == pytest.approx(np.mean(expected), abs=1e-5)
    assert similarity(first, first * 7, 16) == pytest.approx((1, 1))


def test_a_constant_map_has_no_order(rng):
    flat, other = np.zeros((1, 16, 16), np.float32), rng.random((1, 16, 16), dtype=np.float32)
    assert similarity(flat, other, 16)[1] == 0
    assert similarity(flat, flat, 16) == pytest.approx((1, 1))
