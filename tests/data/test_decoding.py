import os

import numpy as np
import pytest
from made import dicom, nifti, raster

from brain_tumor.data.formats import decoding, pixels
from brain_tumor.data.formats.decoding import pictures, read_bytes
from brain_tumor.data.formats.nifti import slice_axis
from brain_tumor.errors import UserError


def read(content):
    return list(pictures("file", content))


@pytest.fixture
def ramp():
    return np.arange(12, dtype=np.uint16).reshape(3, 4) * 100


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "JPEG", "WEBP"])
def test_raster_formats_are_one_picture(form):
    pixels = np.full((20, 30), 90, np.uint8)
    (picture,) = read(raster(form, pixels))
    assert picture.grey.shape == (20, 30)
    np.testing.assert_allclose(picture.grey, 90, atol=2)
    assert picture.frame is None


def test_dicom_is_rescaled_and_windowed_as_the_standard_says(ramp):
    window = {"RescaleSlope": 2, "RescaleIntercept": -100, "WindowCenter": 1000, "WindowWidth": 800}

    (picture,) = read(dicom(ramp, **window))

    # PS3.3 C.11.2.1.2.1, LINEAR
    values = ramp.astype(float) * 2 - 100
    expected = (((values - (1000 - 0.5)) / (800 - 1) + 0.5) * 255).clip(0, 255).round()
    np.testing.assert_allclose(picture.grey, expected, atol=1)
    assert len(np.unique(picture.grey)) > 3


def test_of_several_windows_the_first_counts_and_a_senseless_one_does_not(ramp):
    several = dicom(ramp, WindowCenter=[500, 3000], WindowWidth=[400, 10])
    one = dicom(ramp, WindowCenter=500, WindowWidth=400)
    np.testing.assert_array_equal(read(several)[0].grey, read(one)[0].grey)

    senseless = dicom(ramp, WindowCenter=500, WindowWidth=0)
    np.testing.assert_array_equal(read(senseless)[0].grey, read(dicom(ramp))[0].grey)


def test_dicom_without_a_window_uses_percentiles_and_monochrome1_is_turned_round(ramp):
    (plain,) = read(dicom(ramp))
    assert (plain.grey.min(), plain.grey.max()) == (0, 255)
    assert np.all(np.diff(plain.grey.ravel().astype(int)) > 0)

    (turned,) = read(dicom(ramp, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(turned.grey, 255 - plain.grey)


def test_dicom_with_frames_gives_each(ramp):
    frames = read(dicom(np.stack([ramp, ramp[::-1]]), WindowCenter=600, WindowWidth=1200))
    assert [picture.frame for picture in frames] == [0, 1]
    np.testing.assert_array_equal(frames[0].grey, frames[1].grey[::-1])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("thick", [0, 1, 2])
def test_nifti_slices_lie_across_the_thick_axis(thick, compressed):
    values = np.zeros((10, 11, 12), np.int16)
    index: list = [slice(None)] * 3
    index[thick] = 4
    values[tuple(index)] = 1000
    spacings = [1, 1, 1]
    spacings[thick] = 5

    slices = read(nifti(values, spacings, compressed=compressed))

    assert [picture.frame for picture in slices] == list(range(values.shape[thick]))
    assert [int(picture.grey.min()) for picture in slices] == [255 * (n == 4) for n in range(values.shape[thick])]


def test_nifti_is_shown_as_radiologists_look_whatever_its_orientation():
    values = np.zeros((8, 10, 6), np.float32)  # axes to the right, the front and the top
    values[6:, 8:, :] = 100  # right and front
    (first, *_) = read(nifti(values, (1, 1, 3)))
    assert first.grey.shape == (10, 8)
    assert first.grey[0, 0] == 255  # the front is up, the patient's right side is left
    assert first.grey[0, -1] == first.grey[-1, 0] == first.grey[-1, -1] == 0

    turned = np.diag([-1.0, -1, 3, 1])
    turned[:3, 3] = (7, 9, 0)
    (other, *_) = read(nifti(np.ascontiguousarray(values[::-1, ::-1]), affine=turned))
    np.testing.assert_array_equal(other.grey, first.grey)


def test_a_millimetre_is_as_long_on_both_sides_of_a_slice():
    values = np.random.default_rng(0).random((8, 10, 4)).astype(np.float32)
    (first, *_) = read(nifti(values, (1, 2, 9)))
    assert first.grey.shape == (20, 8)


def test_undefined_and_constant_values_are_black():
    values = np.full((4, 5, 6), np.nan, np.float32)
    assert all(picture.grey.max() == 0 for picture in read(nifti(values, (1, 1, 3))))
    assert all(picture.grey.max() == 0 for picture in read(nifti(values * 0 + 7, (1, 1, 3))))
    values[2:, :, :] = np.linspace(0, 1, 60).reshape(2, 5, 6)
    assert read(nifti(values, (1, 1, 3)))[0].grey[:, -1].max() == 0


@pytest.mark.parametrize(
    ("shape", "spacings", "axis"),
    [
        ((9, 9, 9), (1, 1, 5), 2),
        ((9, 9, 9), (5, 1, 1), 0),
        ((9, 9, 9), (1, 1.1, 1), 2),
        ((9, 1, 9), (1, 1, 5), 1),
        ((9, 9, 9), (0, np.nan, 4), 2),
    ],
)
def test_slice_axis(shape, spacings, axis):
    assert slice_axis(shape, np.array(spacings, float)) == axis


def test_too_large_is_refused_before_it_is_decoded(ramp, monkeypatch):
    bomb = raster("PNG", np.zeros((3000, 3000), np.uint8))  # small in bytes
    volume = nifti(np.zeros((300, 300, 30), np.int8), compressed=True)
    frames = dicom(np.zeros((3, 20, 20)))
    lying = dicom(ramp, Rows=60000, Columns=60000)
    assert len(bomb) + len(volume) < 30_000
    assert "at most" in error_of(lying)
    monkeypatch.setattr(pixels, "MAX_FRAMES", 2)
    for content in (bomb, volume, frames):
        message = error_of(content, most=1_000_000)
        assert "at most" in message or "more than" in message


def error_of(content, most=decoding.MAX_BYTES):
    with pytest.raises(UserError) as error:
        list(pictures("file", content, most))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("file")
    return str(error.value)


def test_volumes_that_are_none_are_refused():
    assert "expected volumes" in error_of(nifti(np.zeros((4, 4, 4, 3, 2), np.int16)))
    assert "expected volumes" in error_of(nifti(np.zeros((4, 4, 4), np.complex64)))
    assert "without pixels" in error_of(dicom(np.zeros((2, 2)))[:128] + b"DICM")


def test_what_is_no_plain_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path, "no plain file"),
        (tmp_path / "pipe", "no plain file"),
        (tmp_path / "x", "not there"),
    ):
        with pytest.raises(UserError, match=reason):
            read_bytes(path)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(decoding.MAX_BYTES + 1)
    with pytest.raises(UserError, match="at most"):
        read_bytes(tmp_path / "huge")
