import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from brain_tumor.data.formats import raster
from brain_tumor.data.images import WHOLE, Frame, Reader, head_mask, prepare_images, read_image, read_images
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


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
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
            seen.append(result[0].shape)
            yield result

    pictures = read_images(paths, 16, progress)

    assert pictures.dtype == np.uint8
    assert pictures[:, 0, 0].tolist() == [9, 3, 200]
    assert seen == [(16, 16)] * 3


def head(height, width, left, top, right, bottom, low=40, high=220):
    """A textured ellipse that fills a box on black, brighter to the right."""
    y, x = np.mgrid[:height, :width].astype(float)
    middle_y, middle_x = (top + bottom) / 2, (left + right) / 2
    inside = ((y - middle_y) / (bottom - top)) ** 2 + ((x - middle_x) / (right - left)) ** 2 < 0.25
    return np.where(inside, low + (high - low) * (x - left) / (right - left), 0).clip(0, 255).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(200, 600),
    st.integers(200, 600),
    st.floats(0, 0.2),
    st.floats(0, 0.2),
    st.floats(0.7, 1),
    st.floats(0.7, 1),
)
def test_the_frame_lies_about_the_head_with_little_margin(height, width, left, top, right, bottom):
    picture = head(height, width, left * width, top * height, right * width, bottom * height)

    frame = Reader(size=32, crop="head").prepare(picture)[1]

    found, drawn = np.array(frame), np.array([left, top, right, bottom])
    outwards = (drawn - found) * (1, 1, -1, -1)
    assert (outwards >= -0.01).all()
    assert (outwards <= 0.05).all()


def test_black_around_a_head_and_brightness_change_little_of_what_is_read():
    reader = Reader(size=64, crop="head", intensities="head")
    plain = head(300, 260, 20, 20, 240, 280)
    padded = np.pad(plain, ((40, 90), (70, 10)))
    darker = (plain * 0.55 + 12 * (plain > 0)).astype(np.uint8)

    expected = reader.prepare(plain)[0].astype(float)

    assert expected.min() == 0
    assert expected.max() == 255
    assert np.abs(reader.prepare(padded)[0] - expected).mean() < 4
    assert np.abs(reader.prepare(darker)[0] - expected).mean() < 4


def test_lines_and_captions_are_no_part_of_a_head():
    picture = head(400, 400, 100, 80, 300, 320)
    bare = Reader(size=64, crop="head").prepare(picture)[1]
    picture[5:8, 5:395] = picture[392:395, 5:395] = 255
    picture[5:395, 5:8] = picture[5:395, 392:395] = 255
    picture[350:362, 20:60:6] = 255

    assert np.allclose(Reader(size=64, crop="head").prepare(picture)[1], bare, atol=0.02)


@pytest.mark.parametrize("grey", [0, 9, 255])
def test_where_nothing_stands_out_the_whole_picture_is_read_unchanged(grey):
    picture = np.full((50, 70), grey, np.uint8)

    pixels, frame = Reader(size=16, crop="head", intensities="head").prepare(picture)

    assert frame == WHOLE
    assert (pixels == grey).all()


def test_what_is_too_small_for_a_head_does_not_lead_to_a_crop():
    picture = head(400, 400, 20, 20, 120, 120)

    assert Reader(size=16, crop="head").prepare(picture)[1] == Frame(0, 0, 1, 1)


def test_the_head_has_no_holes():
    picture = head(256, 256, 30, 20, 220, 240)
    picture[100:160, 90:150] = 0

    mask = head_mask(picture)

    assert mask[100:160, 90:150].all()
    assert mask.sum() == pytest.approx(np.pi / 4 * 190 * 220, rel=0.03)


def test_a_black_background_hides_captions_and_noise_and_leaves_the_head():
    rng = np.random.default_rng(3)
    bare = head(300, 260, 50, 40, 210, 260)
    noisy = np.where(bare > 0, bare, rng.integers(0, 12, bare.shape)).astype(np.uint8)
    noisy[8:20, 20:90:6] = noisy[280:292, 180:240:6] = 255
    reader = Reader(size=64, background="black")

    seen, as_it_is = reader.prepare(noisy)[0], Reader(size=64).prepare(noisy)[0]

    y, x = np.mgrid[:64, :64] + 0.5
    radius = np.hypot((x / 64 * 260 - 130) / 80, (y / 64 * 300 - 150) / 110)  # 1 at the border of the head
    assert (seen[radius < 1] == as_it_is[radius < 1]).all()
    assert as_it_is[radius > 1.2].max() > 40
    assert (seen[radius > 1.2] == 0).all()


@pytest.mark.parametrize("change", [lambda picture: picture, lambda picture: np.pad(picture, ((0, 500), (0, 700)))])
def test_the_background_is_left_where_no_head_was_found(change):
    picture = change(np.full((80, 80), 40, np.uint8))

    black, plain = (Reader(size=32, background=background).prepare(picture)[0] for background in ("black", "file"))

    assert np.array_equal(black, plain)


def test_a_reader_reads_files_as_it_prepares_pixels(tmp_path):
    picture = head(120, 100, 10, 10, 90, 110)
    Image.fromarray(picture).save(tmp_path / "a.png")
    reader = Reader(size=48, crop="head", intensities="head")

    images, frames = prepare_images([tmp_path / "a.png"], reader)

    pixels, frame = reader.prepare(picture)
    assert np.array_equal(images[0], pixels)
    assert frames == [frame]


def cut_off(path):
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:-900])


BAD = {
    "empty": (lambda path: path.touch(), "is empty"),
    "cut off": (cut_off, "truncated"),
    "no image": (lambda path: path.write_text("not an image at all"), "of no known format"),
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
    monkeypatch.setattr(raster, "grey_of", lambda *_: pytest.fail("decoded"))

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


def test_points_of_a_picture_are_located_in_what_was_cut_out():
    frame = Frame(0.25, 0.5, 0.75, 1.0)
    points = np.array([[0.25, 0.5], [0.5, 0.75], [0.75, 1.0], [0.0, 0.5]])

    assert frame.locate(points).tolist() == [[0, 0], [0.5, 0.5], [1, 1], [-0.5, 0]]
