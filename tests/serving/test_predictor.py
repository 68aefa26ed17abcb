import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from serving.tiny import tiny_series, write_tiny_model

from brain_tumor.data.formats.pixels import Picture
from brain_tumor.errors import UserError
from brain_tumor.serving.predictor import Extent, Predictor

FLAT = Picture(np.full((32, 32), 51, np.uint8), frame=0)
ODD = Picture((np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8), frame=1)
COMPUTED = replace(FLAT, reason="modality CT", frame=2)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return Predictor(write_tiny_model(tmp_path_factory.mktemp("tiny") / "model.onnx"))


def test_what_is_out_of_distribution_says_why(predictor):
    flat, odd, computed = predictor.predict([FLAT, ODD, COMPUTED])
    assert flat.in_distribution
    assert flat.ood_reason is None
    assert odd.ood_reason == "its features are 1.67 times as far away as is allowed"
    assert computed.ood_reason == "its header says modality CT"


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "I;16", "I", "F", "1", "RGBA"])
def test_a_picture_of_pillow_is_read_as_its_file_is(predictor, rng, mode):
    greys = np.clip(rng.normal(120, 30, (40, 50)), 0, 255)
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray((greys * 16).astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = Image.fromarray(greys.astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF")

    (given,), (saved,) = predictor(image), predictor(file.getvalue())

    assert given.probabilities == saved.probabilities


def test_colours_of_an_array_are_one_picture(predictor):
    colours = np.full((40, 50, 3), 51, np.uint8)
    (answer,) = predictor(colours)
    assert answer.probabilities == predictor(colours[..., 0])[0].probabilities
    assert predictor(colours[..., :1])[0].probabilities == answer.probabilities
    with pytest.raises(ValueError, match=r"\(40, 50, 3\): colours are read as uint8 alone"):
        predictor(colours / 255)


@pytest.mark.parametrize(
    "given", [np.zeros((4, 4), bool), np.zeros((0, 4, 4)), np.zeros((2, 4, 4, 3)), np.full((4, 4), "a"), np.zeros(4)]
)
def test_arrays_of_no_picture_are_refused(predictor, given):
    with pytest.raises(ValueError, match=r"an array of shape \(.*expected numbers \(height, width\)"):
        predictor(given)


def test_a_picture_that_is_cut_off_is_one_line(predictor, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    with pytest.raises(UserError, match="the picture cannot be read"):
        predictor(Image.open(io.BytesIO(content[: len(content) // 2])))


def test_a_folder_of_a_series_is_one_volume_whatever_lies_beside_it(predictor, tmp_path):
    for number, content in enumerate(tiny_series(0.2, 0.2, 0.2)):
        (tmp_path / f"IM{number}").write_bytes(content)
    (tmp_path / "notes.txt").write_text("seen by")

    (volume,) = predictor(tmp_path).volumes

    assert volume.label == "glioma"


def stack(*levels, **known):
    """Flat slices of these greys; of a tiny model 51 is glioma and 153 no tumour."""
    return [Picture(np.full((32, 32), level, np.uint8), frame=number, **known) for number, level in enumerate(levels)]


def test_a_volume_is_read_from_the_slices_that_show_a_tumour(predictor):
    slices = predictor.predict([*stack(51, 153, 153, 153, 51, 51, 51, 153, spacing=2.5), replace(ODD, frame=8)])

    (volume,) = predictor.volumes(slices)

    assert volume.label == "glioma"
    assert volume.probabilities == pytest.approx(slices[5].probabilities, abs=1e-6)
    assert volume.extent == Extent(slices=(4, 5, 6), first=4, last=6, share=3 / 8, millimetres=7.5)
    (healthy,) = predictor.volumes(slices[:4])  # a slice alone is no finding
    assert (healthy.label, healthy.extent) == ("notumor", None)


def test_the_threshold_is_that_of_the_model(predictor, monkeypatch):
    slices = predictor.predict(stack(130, 130, 130))  # between no tumour and meningioma
    chance = 1 - slices[0].probabilities["notumor"]
    for threshold, label in ((chance - 0.01, "meningioma"), (chance + 0.01, "notumor")):
        model = predictor.exported.model_copy(update={"volume_threshold": threshold})
        monkeypatch.setattr(predictor.engine, "exported", model)
        assert [volume.label for volume in predictor.volumes(slices)] == [label]


def test_a_volume_without_a_slice_in_distribution_says_why(predictor):
    odd, computed, flat = predictor.predict([ODD, COMPUTED, replace(FLAT, frame=3)])

    (volume,) = predictor.volumes([odd, computed])
    assert volume.ood_reason == f"none of its 2 slices is: {odd.ood_reason}"
    assert volume.extent is None
    (volume,) = predictor.volumes([odd, computed, flat])
    assert volume.ood_reason is None
    assert volume.extent.slices == (3,)


def test_each_of_several_volumes_has_its_answer_and_one_of_a_slice_has_none(predictor):
    pictures = [replace(picture, volume=volume) for volume in (0, 1) for picture in (FLAT, ODD)]
    flat, odd, *others = predictor.predict(pictures)

    volumes = predictor.volumes([flat, odd, *others])

    assert [volume.volume for volume in volumes] == [0, 1]
    assert [volume.probabilities for volume in volumes] == [pytest.approx(flat.probabilities, abs=1e-6)] * 2
    assert predictor.volumes([flat, others[1]]) == []


def test_a_distance_that_is_no_number_is_out_of_distribution(predictor, monkeypatch):
    run = predictor.engine.run
    monkeypatch.setattr(
        predictor.engine, "run", lambda images: replace(run(images), ood_distances=np.full(len(images), np.nan))
    )
    (answer,) = predictor.predict([FLAT])
    assert not answer.in_distribution
    assert "nan times" in answer.ood_reason
