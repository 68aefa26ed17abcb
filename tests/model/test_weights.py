import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.weights import imagenet_weights, initialise


def test_imagenet_head_takes_both_pretrained_layers(describe, tmp_path):
    source = models.vgg16()
    save_file(source.state_dict(), tmp_path / "vgg.safetensors")
    classifier = Classifier(describe(head="imagenet"))
    last = classifier.head[9].weight.clone()

    initialise(classifier, str(tmp_path / "vgg.safetensors"), tmp_path)

    assert torch.equal(classifier.trunk[28].weight, source.features[28].weight)
    assert torch.equal(classifier.head[3].weight, source.classifier[0].weight)
    assert torch.equal(classifier.head[6].bias, source.classifier[3].bias)
    assert torch.equal(classifier.head[9].weight, last)


def test_weights_without_the_head_are_refused_for_the_imagenet_head(describe, tmp_path):
    path = tmp_path / "trunk.safetensors"
    save_file({name: t for name, t in models.vgg16().state_dict().items() if name.startswith("features")}, path)

    with pytest.raises(UserError, match=r"has no classifier.0.weight \(4 of 30 tensors are missing\)"):
        initialise(Classifier(describe(head="imagenet")), str(path), tmp_path)


def test_weights_of_another_shape_are_refused(classifier, tmp_path):
    path = tmp_path / "other.safetensors"
    tensors = {name: t for name, t in models.vgg16().state_dict().items() if name.startswith("features")}
    save_file(tensors | {"features.5.weight": torch.zeros(128, 64, 5, 5)}, path)

    with pytest.raises(UserError, match=r"features.5.weight has shape \(128, 64, 5, 5\), the network needs"):
        initialise(classifier, str(path), tmp_path)


def test_a_path_that_is_no_file_is_named(classifier, tmp_path):
    with pytest.raises(UserError, match=r"absent.safetensors is no file"):
        initialise(classifier, str(tmp_path / "absent.safetensors"), tmp_path)


def test_no_weights_leaves_the_network_random(classifier, tmp_path):
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    initialise(classifier, "none", tmp_path)

    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())


def test_imagenet_weights_come_through_torchvision(tmp_path, monkeypatch):
    """A prepared cache stands in for the download: torchvision takes what lies there under the published name."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = models.VGG16_Weights.IMAGENET1K_V1.url
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = models.vgg16().state_dict()
    torch.save(state, folder / url.rsplit("/", 1)[1])

    tensors = imagenet_weights("vgg16")

    assert all(torch.equal(tensors[name], tensor) for name, tensor in state.items())


def test_imagenet_weights_out_of_reach_name_the_parameter(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no route to host")))

    with pytest.raises(UserError, match=r"train.weights: imagenet cannot be downloaded \(no route to host\)"):
        imagenet_weights("vgg16")
