import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter

from brain_tumor.errors import UserError
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.model.backbones import BACKBONES
from brain_tumor.model.classifier import Classifier, load_classifier

pytestmark = pytest.mark.parametrize("backbone", BACKBONES)


@pytest.fixture
def network(describe, backbone):
    """A classifier with random weights and running statistics that are not those of a fresh layer."""
    torch.manual_seed(0)
    classifier = Classifier(describe(backbone=backbone)).eval()
    for name, tensor in classifier.state_dict().items():
        if "running_var" in name:  # moved means would leave nothing behind the ReLUs of a random network
            tensor.uniform_(0.8, 1.2)
    return classifier


def test_trunk_is_the_networks_own(describe, backbone, pixels, tmp_path):
    torch.manual_seed(0)
    entry = BACKBONES[backbone]
    whole = entry.build().to_empty(device="cpu") if backbone.startswith("vgg") else entry.build()
    for name, tensor in whole.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if "running_var" in name else tensor.normal_(0, 0.1)
    save_file(dict(whole.state_dict()), tmp_path / "w.safetensors")
    classifier = Classifier(describe(backbone=backbone)).eval()

    classifier.initialise(str(tmp_path / "w.safetensors"), tmp_path)

    images = classifier.normalise(pixels)
    whole.eval()
    if backbone.startswith("resnet"):
        expected = IntermediateLayerGetter(whole, {"layer4": "out"})(images)["out"]
    elif backbone.startswith("vgg"):
        expected = whole.features[:-1](images)  # the last pooling belongs to the head
    else:
        expected = (whole.features if hasattr(whole, "features") else whole.forward_features)(images)
    torch.testing.assert_close(classifier.trunk(images), expected)
    assert expected.shape[1] == entry.channels


def test_normalised_values_are_what_the_weights_expect(describe, backbone):
    black, white = Classifier(describe(backbone=backbone)).normalise(torch.tensor([[[0]], [[255]]], dtype=torch.uint8))

    low, high = (-127 / 128, 1.0) if backbone == "efficientnet_lite0" else (-0.485 / 0.229, (1 - 0.485) / 0.229)
    assert black[0].item() == pytest.approx(low, rel=1e-5)
    assert white[0].item() == pytest.approx(high, rel=1e-5)


@pytest.mark.parametrize(("trainable", "resolutions"), [("block5", 1), ("block4", 2)])
def test_a_cut_freezes_all_but_the_last_resolutions(network, backbone, trainable, resolutions):
    images, sides = torch.zeros(1, 3, 224, 224), []
    with torch.no_grad():
        for module in network.trunk:
            images = module(images)
            sides.append(images.shape[-1])
    trained = sorted(set(sides))[:resolutions]

    cut = BACKBONES[backbone].cuts[trainable]

    learns = [bool(list(module.parameters())) for module in network.trunk]
    assert [side in trained for side, yes in zip(sides, learns, strict=True) if yes] == [
        number >= cut for number, yes in enumerate(learns) if yes
    ]


@pytest.mark.parametrize("trainable", ["head", "block5", "block4", "all"])
def test_front_and_tail_are_the_whole(describe, network, backbone, pixels, trainable):
    other = Classifier(describe(backbone=backbone, trainable=trainable)).eval()
    other.load_state_dict(network.state_dict())

    with torch.no_grad():
        torch.testing.assert_close(other.tail(other.front(pixels)), network(pixels), rtol=1e-4, atol=1e-5)


def test_a_training_step_changes_what_is_trained_and_nothing_else(network, pixels):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)

    nn.functional.cross_entropy(network(pixels), torch.tensor([0, 1, 2])).backward()
    optimizer.step()

    trained = network.trained_state()
    for name, tensor in network.state_dict().items():
        if name not in trained:
            assert torch.equal(tensor, before[name]), name
    changed = [name for name in trained if not torch.equal(trained[name], before[name])]
    assert any(name.startswith("trunk.") for name in changed)
    assert "head.4.weight" in changed


def test_it_is_explained(network, backbone, pixels):
    maps = grad_cam(network.activations, network.classify, network.front(pixels), torch.tensor([0, 1, 2]))

    side = 64 // (16 if backbone.startswith("vgg") else 32)
    assert maps.shape == (3, side, side)
    assert maps.max() > 0


def test_it_is_saved_and_read(network, pixels, tmp_path):
    network.save(tmp_path / "model.safetensors")

    loaded = load_classifier(tmp_path / "model.safetensors")

    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), network(pixels))


def test_only_vgg_has_an_imagenet_head(describe, backbone):
    if backbone.startswith("vgg"):
        assert Classifier(describe(backbone=backbone, head="imagenet")).head[3].in_features == 25088
    else:
        with pytest.raises(UserError, match=f"train.head: imagenet does not fit {backbone}: use pooled"):
            Classifier(describe(backbone=backbone, head="imagenet"))
