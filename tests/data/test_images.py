import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from brain_tumor.data import images
from brain_tumor.data.images import read_image, read_images
from brain_tumor.errors import UserError


@pytest.fixture
def greys(rng):
    """A smooth picture that uses the whole range, 48 high and 40 wide."""
    coarse = Image.fromarray(rng.integers(0, 256, (6, 5), dtype=np.uint8))
    picture = np.asarray(coarse.resize((40, 48), Image.Resampling.BICUBIC)).copy()
    picture[0, 0], picture[-1, -1] = 0, 255
    return picture


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def in_mode(greys, mode):
    if mode == "I;16":
        return Image.fromarray(greys.astype(np.uint16) * 257)
    if mode == "P":  # an inverted palette, so that indices taken for greys would show
        image = Image.fromarray(255 - greys)
        image.putpalette([255 - value for value in range(256) for _ in range(3)])
        return image
    image = Image.fromarray(greys).convert(mode)
    if mode in ("LA", "RGBA"):  # transparency that a reader could take for black or white
        image.putalpha(Image.fromarray(np.tile(np.arange(40, dtype=np.uint8) * 6, (48, 1))))
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "I;16"])
def test_the_colour_mode_of_a_file_changes_nothing(tmp_path, greys, mode):
    Image.fromarray(greys).save(tmp_path / "grey.png")
    image = in_mode(greys, mode)
    image.save(tmp_path / "other.png")
    with Image.open(tmp_path / "other.png") as saved:
        assert saved.mode == mode

    expected = read_image(tmp_path / "grey.png", 32)

    assert expected.std() > 20
    np.testing.assert_array_equal(read_image(tmp_path / "other.png", 32), expected)


def test_at_its_own_size_a_grey_picture_is_read_unchanged(tmp_path, rng):
    pixels = rng.integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 40), pixels)


def test_a_picture_of_one_16_bit_grey_is_read(tmp_path):
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "flat.png")

    assert read_image(tmp_path / "flat.png", 8).std() == 0


def test_many_pictures_come_in_order_and_progress_sees_each(tmp_path):
    paths = [tmp_path / f"{grey}.png" for grey in (9, 3, 200)]
    for path in paths:
        Image.new("L", (20, 10), int(path.stem)).save(path)
    seen = []

    def progress(results):
        for result in results:
            seen.append(result.shape)
            yield result

    pictures = read_images(paths, 16, progress)

    assert pictures.dtype == np.uint8
    assert pictures[:, 0, 0].tolist() == [9, 3, 200]
    assert seen == [(16, 16)] * 3


def cut_off(path):
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-900])


BAD = {
    "empty": (lambda path: path.touch(), "is empty"),
    "cut off": (cut_off, "truncated"),
    "no image": (lambda path: path.write_text("not an image at all"), "cannot identify"),
    "a folder": (lambda path: path.mkdir(), "folder"),
    "not there": (lambda _: None, "is not there"),
    "16 bits cut off": (
        lambda path: (
            Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(path, "png"),
            path.write_bytes(path.read_bytes()[:100]),
        ),
        "truncated",
    ),
}


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("name", ["scan.jpg", "scan.png"])
def test_a_bad_file_is_named_in_one_line(tmp_path, make, reason, name):
    path = tmp_path / name
    make(path)

    with pytest.raises(UserError) as caught:
        read_image(path, 32)

    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [9_000, 10_000, 20_000])  # below Pillow's limits, where it warns, where it raises
def test_an_absurd_number_of_pixels_is_refused_before_it_is_decoded(tmp_path, side, monkeypatch):
    path = tmp_path / "huge.png"
    Image.new("1", (side, side)).save(path)
    monkeypatch.setattr(images, "_grey", lambda _: pytest.fail("decoded"))

    with pytest.raises(UserError, match="pixels") as caught:
        read_image(path, 32)

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pillow_adds_no_warning_to_the_message(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    program = f"""
import pathlib, sys
from brain_tumor.data.images import read_image
try:
    read_image(pathlib.Path({str(tmp_path / "huge.png")!r}), 32)
except Exception as error:
    sys.exit(str(error))
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pixels" in done.stderr


def test_a_bad_file_among_many_is_named(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").touch()

    with pytest.raises(UserError, match=r"bad\.png is empty"):
        read_images([tmp_path / "good.png", tmp_path / "bad.png"], 8)
