import hashlib

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from brain_tumor.data.arrays import SplitArrays
from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX
from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError
from brain_tumor.evaluation.ood import fit
from brain_tumor.explanation.gradcam import grad_cam
from brain_tumor.model.classifier import Classifier, Description
from brain_tumor.serving.export import export, ood_features
from brain_tumor.serving.onnx_model import Engine

SIZE = 64


def split_of(images):
    """Random grey pictures with structure."""
    rng = np.random.default_rng(images)
    coarse = rng.integers(0, 256, (images, 8, 8), dtype=np.uint8)
    pixels = coarse.repeat(SIZE // 8, axis=1).repeat(SIZE // 8, axis=2)
    return SplitArrays(pixels, pd.DataFrame({"augmented": np.zeros(images, int)}))


@pytest.fixture(scope="module", params=["pooled", "class_map"])
def classifier(request):
    torch.manual_seed(0)
    made = Classifier(
        Description(
            classes=CLASSES,
            reader=Reader(size=SIZE),
            backbone="vgg16",
            head=request.param,
            trainable="block5",
            precision="fp32",
            dropout=0.4,
            temperature=1.7,
            volume_threshold=0.3,
        )
    ).eval()
    with torch.no_grad():  # statistics of real features, so that pictures get answers that differ
        features = made.trunk(made.normalise(torch.from_numpy(split_of(40).images))).mean((2, 3))
        normalisation = made.head[2] if request.param == "pooled" else made.neck
        normalisation.running_mean.copy_(features.mean(0))
        normalisation.running_var.copy_(features.var(0))
        normalisation.weight.uniform_(0.5, 2)
        normalisation.bias.uniform_(-1, 1)
    return made


@pytest.fixture(scope="module")
def train_split():
    return split_of(60)


@pytest.fixture(scope="module")
def validation_split():
    return split_of(24)


@pytest.fixture(scope="module")
def exported_file(classifier, train_split, validation_split, tmp_path_factory):
    """The classifier as ONNX in full precision."""
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    export(classifier, train_split, validation_split, path, int8=False)
    return path


@pytest.fixture(scope="module")
def engine(exported_file):
    return Engine(exported_file)


@pytest.fixture(scope="module")
def int8_file(classifier, train_split, validation_split, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model.onnx"
    export(classifier, train_split, validation_split, path, int8=True)
    return path


def expected_probabilities(classifier, images):
    with torch.inference_mode():
        logits = classifier(torch.from_numpy(images))
    return torch.softmax(logits / classifier.description.temperature, dim=1).numpy()


def test_probabilities_are_torchs(engine, classifier, validation_split):
    images = validation_split.images[:5]

    outputs = engine.run(images)

    np.testing.assert_allclose(outputs.probabilities, expected_probabilities(classifier, images), atol=1e-4)
    assert np.ptp(outputs.probabilities, axis=0).max() > 0.01  # the pictures do not all get the same answer


def test_maps_are_grad_cam_of_every_class(engine, classifier, validation_split):
    images = validation_split.images[:3]

    outputs = engine.run(images)

    for label in range(4):
        features = classifier.front(torch.from_numpy(images))
        expected = grad_cam(classifier.activations, classifier.classify, features, torch.full((3,), label))
        np.testing.assert_allclose(np.maximum(outputs.maps[:, label], 0), expected, atol=1e-4)
        speaks = label != HEALTHY_INDEX or classifier.description.head == "pooled"
        assert (expected.max() > 1e-2) == speaks  # with class_map nothing speaks for no tumour


def test_ood_distance_is_the_mahalanobis_distance_and_its_threshold_accepts_validation(
    engine, classifier, train_split, validation_split
):
    features = ood_features(classifier, validation_split.images)
    detector = fit(ood_features(classifier, train_split.images))

    outputs = engine.run(validation_split.images)

    np.testing.assert_allclose(outputs.ood_distances, detector.distances(features), rtol=1e-3)
    assert (outputs.ood_distances <= engine.exported.ood_threshold).mean() >= 0.99


def test_ood_distance_is_measured_on_deviations_over_the_places(classifier, validation_split):
    images = np.array(validation_split.images[:3])
    with torch.inference_mode():
        middle = classifier.trunk[: classifier.backbone.last](classifier.normalise(torch.from_numpy(images)))

    np.testing.assert_allclose(ood_features(classifier, images), middle.numpy().std(axis=(2, 3)), rtol=1e-4)


def test_the_description_comes_along(engine, classifier):
    assert engine.exported.classes == classifier.description.classes
    assert engine.exported.volume_threshold == classifier.description.volume_threshold == 0.3
    assert engine.exported.reader.size == 64
    assert engine.exported.precision == "fp32"


def test_a_batch_gives_what_single_images_give(engine, validation_split):
    together = engine.run(validation_split.images[:4])
    for row in range(4):
        alone = engine.run(validation_split.images[row : row + 1])
        np.testing.assert_allclose(alone.probabilities[0], together.probabilities[row], atol=1e-5)


@pytest.mark.slow
def test_int8_is_a_quarter_the_size_and_close(int8_file, exported_file, classifier, validation_split):
    if classifier.description.head == "class_map":
        pytest.skip("log-sum-exp of random weights enlarges what rounding does: ask it of a trained model")
    engine = Engine(int8_file)

    outputs = engine.run(validation_split.images)

    assert int8_file.stat().st_size < exported_file.stat().st_size * 0.3
    expected = expected_probabilities(classifier, validation_split.images)
    assert np.abs(outputs.probabilities - expected).max() < 0.1
    assert np.abs(outputs.probabilities - expected).mean() < 0.02
    assert engine.exported.precision == "int8"
    assert (outputs.ood_distances <= engine.exported.ood_threshold).mean() >= 0.99


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(exported_file, classifier, train_split, validation_split, tmp_path):
    export(classifier, train_split, validation_split, tmp_path / "again.onnx", int8=False)

    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (exported_file, tmp_path / "again.onnx")}
    assert len(digests) == 1


def test_nothing_of_the_machine_is_in_the_file(exported_file):
    assert b"site-packages" not in exported_file.read_bytes()
    assert b"classifier.py" not in exported_file.read_bytes()


def test_another_head_or_size_is_refused(classifier, train_split, validation_split, tmp_path):
    other = Classifier(classifier.description.model_copy(update={"head": "imagenet"})).eval()
    with pytest.raises(UserError, match="only models with the heads class_map and pooled"):
        export(other, train_split, validation_split, tmp_path / "model.onnx", int8=False)

    larger = Classifier(classifier.description.model_copy(update={"reader": Reader(size=96)})).eval()
    with pytest.raises(UserError, match="64 pixels a side, the model of 96"):
        export(larger, train_split, validation_split, tmp_path / "model.onnx", int8=False)

    assert not list(tmp_path.iterdir())


def test_files_that_are_no_exported_model_are_refused_in_one_line(exported_file, tmp_path):
    absent, text, cut, plain = (tmp_path / f"{name}.onnx" for name in ("absent", "text", "cut", "plain"))
    text.write_text("no model")
    cut.write_bytes(exported_file.read_bytes()[:100_000])
    foreign = onnx.load(exported_file)
    del foreign.metadata_props[:]
    onnx.save(foreign, plain)
    save_file({"weight": torch.zeros(2)}, tmp_path / "weights.onnx")

    for path in (absent, text, cut, plain, tmp_path / "weights.onnx"):
        with pytest.raises(UserError) as error:
            Engine(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_pictures_of_another_shape_are_refused(engine):
    for images in (np.zeros((1, 32, 64), np.uint8), np.zeros((1, 64, 64), np.float32), np.zeros((0, 64, 64), np.uint8)):
        with pytest.raises(ValueError, match="expected uint8"):
            engine.run(images)
