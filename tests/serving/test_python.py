"""Predictions from Python, as the README shows them."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest
from PIL import Image
from serving.tiny import tiny_volume, write_tiny_model

import brain_tumor
from brain_tumor import Predictor
from brain_tumor.errors import UserError


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx"))


def test_a_file_its_bytes_an_array_and_a_picture_have_one_answer(predictor, tmp_path):
    grey = np.full((40, 30), 102, np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")

    answers = [
        predictor(given)
        for given in (
            tmp_path / "a.png",
            str(tmp_path / "a.png"),
            (tmp_path / "a.png").read_bytes(),
            grey,
            Image.fromarray(grey).convert("RGB"),
        )
    ]

    assert {(len(answer), answer[0].label, answer[0].probability) for answer in answers} == {
        (1, "meningioma", answers[0][0].probability)
    }
    assert answers[0][0].heat.min() >= 0
    assert answers[0].volumes == []


def test_values_of_any_range_are_scaled(predictor):
    grey = np.zeros((40, 40), np.float32)
    grey[:, :20] = 1000.0

    (scaled,), (whole,) = predictor(grey), predictor((grey / 1000 * 255).astype(np.uint8))

    assert scaled.probabilities == pytest.approx(whole.probabilities)


def test_a_volume_has_a_row_a_slice_and_one_more(predictor, tmp_path):
    values = tiny_volume(0.6, 0.2, 0.2, 0.2, 0.6)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")

    for given in (tmp_path / "a.nii.gz", np.moveaxis(values, 2, 0)):
        answers = predictor(given)
        frame = answers.to_frame()
        assert frame["class"].tolist() == ["notumor", *["glioma"] * 3, "notumor", "glioma"]
        assert frame["slice"].tolist()[:5] == [0, 1, 2, 3, 4]
        assert frame["slice"].isna().tolist() == [False] * 5 + [True]
        assert answers.volumes[0].extent.slices == (1, 2, 3)


def test_a_folder_is_a_series_and_no_heap_of_pictures(predictor, tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("L", (20, 20)).save(tmp_path / name)

    with pytest.raises(UserError, match="holds 2 pictures or volumes: name one of them"):
        predictor(tmp_path)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 2, 2\)"):
        predictor(np.zeros((2, 2, 2, 2), np.uint8))


def test_the_released_model_needs_no_torch():
    code = "import sys, numpy as np; from brain_tumor import Predictor; p = Predictor.released();"
    code += "print(p(np.zeros((64, 64), np.uint8))[0].ood_reason is not None, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute nothing"):
        brain_tumor.nothing  # noqa: B018
