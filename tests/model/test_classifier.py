import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.transforms.v2 import functional as transforms

from brain_tumor.errors import UserError
from brain_tumor.model.backbones import BACKBONES
from brain_tumor.model.classifier import METADATA_KEY, Classifier, load_classifier


def test_trunk_is_torchvisions_up_to_the_last_relu(classifier, pixels):
    vgg = models.vgg16().eval()
    vgg.features[:30].load_state_dict(classifier.trunk.state_dict())
    rgb = pixels.unsqueeze(1).expand(-1, 3, -1, -1).float() / 255
    expected = vgg.features[:30](transforms.normalize(rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    activations = classifier.activations(classifier.front(pixels))

    torch.testing.assert_close(activations, expected)
    assert isinstance(classifier.trunk[-1], nn.ReLU)


@pytest.mark.parametrize("trainable", BACKBONES["vgg16"].cuts)
def test_the_cut_changes_what_is_frozen_but_not_the_logits(describe, classifier, pixels, trainable):
    other = Classifier(describe(trainable=trainable)).eval()
    other.load_state_dict(classifier.state_dict())

    torch.testing.assert_close(other(pixels), classifier(pixels))
    frozen = [name for name, parameter in other.named_parameters() if not parameter.requires_grad]
    first = {"head": 28, "block5": 21, "block4": 14, "all": -1}[trainable]
    assert {int(name.split(".")[1]) for name in frozen} == {
        n for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28) if n <= first
    }


def test_a_head_of_averages_is_linear_in_the_mean_activation(classifier):
    classifier.head[2].running_mean.uniform_(-1, 1)
    classifier.head[2].running_var.uniform_(0.5, 2)
    first, second = torch.rand(2, 1, 512, 4, 4)

    middle = classifier.classify((first + second) / 2)

    torch.testing.assert_close(middle, (classifier.classify(first) + classifier.classify(second)) / 2)
    shuffled = first.flatten(2)[..., torch.randperm(16)].view_as(first)
    torch.testing.assert_close(classifier.classify(shuffled), classifier.classify(first))


def test_imagenet_head_is_vgg16s_own_with_another_last_layer(describe, pixels):
    torch.manual_seed(0)
    classifier = Classifier(describe(head="imagenet")).eval()
    vgg = models.vgg16(num_classes=4).eval()
    vgg.features[:30].load_state_dict(classifier.trunk.state_dict())
    linear = [module for module in classifier.head if isinstance(module, nn.Linear)]
    for theirs, ours in zip((0, 3, 6), linear, strict=True):
        vgg.classifier[theirs].load_state_dict(ours.state_dict())

    torch.testing.assert_close(classifier(pixels), vgg(classifier.normalise(pixels)))


def test_a_saved_model_comes_back_with_its_description(classifier, pixels, tmp_path):
    classifier.save(tmp_path / "model.safetensors")

    loaded = load_classifier(tmp_path / "model.safetensors")

    assert loaded.description == classifier.description
    torch.testing.assert_close(loaded(pixels), classifier(pixels))
    assert not loaded.training


def test_the_same_model_gives_the_same_bytes(classifier, tmp_path):
    digests = set()
    for number in range(3):
        path = tmp_path / f"{number}.safetensors"
        classifier.save(path)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())

    assert len(digests) == 1


@pytest.mark.parametrize("place", ["description", "weights", "last byte"])
def test_a_flipped_bit_is_no_other_model(classifier, tmp_path, place):
    path = tmp_path / "model.safetensors"
    classifier.save(path)
    content = bytearray(path.read_bytes())
    # A bit of the last digit of the temperature, of a weight, and of the last value.
    content[
        {"description": content.index(b"temperature") + 17, "weights": len(content) // 2, "last byte": -1}[place]
    ] ^= 1
    path.write_bytes(content)

    with pytest.raises(UserError, match=r"model.safetensors is damaged: run the train stage again"):
        load_classifier(path)


def test_files_that_are_no_model_are_refused_in_one_line(classifier, tmp_path):
    absent, folder, text, cut_off, foreign, other = (
        tmp_path / name for name in ("absent", "folder", "text", "cut_off", "foreign", "other")
    )
    folder.mkdir()
    text.write_text("no model")
    classifier.save(cut_off)
    cut_off.write_bytes(cut_off.read_bytes()[:10_000])
    save_file({"weight": torch.zeros(2)}, foreign)
    metadata = {METADATA_KEY: json.dumps({"sha256": "", **classifier.description.model_dump(), "head": "imagenet"})}
    save_file(classifier.state_dict(), other, metadata)

    for path, reason in (
        (absent, "is no file"),
        (folder, "is no file"),
        (text, "is not a whole .safetensors file"),
        (cut_off, "is not a whole .safetensors file"),
        (foreign, "is no model of this project, or of another version: run the train stage again"),
        (other, "is no model of this project, or of another version: run the train stage again"),
    ):
        with pytest.raises(UserError, match=reason) as error:
            load_classifier(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
