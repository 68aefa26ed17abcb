"""The two annotation files: what is read, what is refused, and how an outline is filled."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as PolygonPath

from brain_tumor.data.annotations import format_outline, outline_mask, read_outlines, read_slices
from brain_tumor.errors import UserError

SLICES = "image,slice,patient,label\nglioma/a.jpg,007,P1,glioma\nglioma/b.jpg,007,P1,pituitary\n"
WITH_OTHERS = "image,slice,mirrored,patient,label\nglioma/a.jpg,007,0,P1,glioma\nglioma/b.jpg,007,,P1,pituitary\n"
OUTLINES = 'image,outline\nglioma/a.jpg,"0.1,0.2 0.5,0.2 0.5,0.9"\n'


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "annotations").mkdir()
    return tmp_path


def test_nothing_is_known_without_the_files(tmp_path):
    assert read_slices(tmp_path) is None
    assert read_outlines(tmp_path) == {}


@pytest.mark.parametrize("text", [SLICES, WITH_OTHERS])
def test_slices_are_text_and_other_columns_are_passed_over(raw, text):
    (raw / "annotations/slices.csv").write_text(text)

    slices = read_slices(raw)

    assert slices.to_dict("list") == {
        "image": ["glioma/a.jpg", "glioma/b.jpg"],
        "slice": ["007", "007"],
        "patient": ["P1", "P1"],
        "label": ["glioma", "pituitary"],
    }


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("pituitary", "pituitry", "line 3: label is 'pituitry'"),
        ("P1,pituitary", ",pituitary", "line 3: patient is empty"),
        ("b.jpg", "a.jpg", "line 3: glioma/a.jpg is named twice"),
        ("image,slice", "image,cheng_slice", "columns image, cheng_slice"),
        ("pituitary", "pituitary,9", "cannot be read as CSV"),
        (SLICES, "", "cannot be read as CSV"),
    ],
)
def test_malformed_slices_name_file_and_line(raw, old, new, named):
    path = raw / "annotations/slices.csv"
    path.write_text(SLICES.replace(old, new))

    with pytest.raises(UserError) as error:
        read_slices(raw)

    assert str(path) in str(error.value)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


def test_outlines_are_points(raw):
    (raw / "annotations/outlines.csv").write_text(OUTLINES)

    outlines = read_outlines(raw)

    assert list(outlines) == ["glioma/a.jpg"]
    assert outlines["glioma/a.jpg"].tolist() == [[0.1, 0.2], [0.5, 0.2], [0.5, 0.9]]


@pytest.mark.parametrize(
    "text",
    [
        "0.1,0.2 0.5,0.2",
        "0.1 0.2 0.3",
        "0.1,0.2 0.5,x 0.5,0.9",
        "0.1,0.2,0.3 0.5,0.2,0.3 0.5,0.9,0.3",
        "0.1,0.2 0.5,0.2 0.5",
        "0.1,nan 0.5,0.2 0.5,0.9",
        "10,20 50,20 50,90",
    ],
)
def test_malformed_outlines_name_file_and_image(raw, text):
    (raw / "annotations/outlines.csv").write_text(f'image,outline\nglioma/a.jpg,"{text}"\n')

    with pytest.raises(UserError, match=r"outlines\.csv: the outline of glioma/a\.jpg"):
        read_outlines(raw)


@settings(deadline=None)  # it writes files
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=30))
def test_outline_survives_the_file(tmp_path_factory, points):
    raw = tmp_path_factory.mktemp("raw")
    (raw / "annotations").mkdir()
    (raw / "annotations/outlines.csv").write_text(f'image,outline\na.jpg,"{format_outline(np.array(points))}"\n')

    assert read_outlines(raw)["a.jpg"] == pytest.approx(np.array(points), abs=5.1e-5)


def test_mask_covers_the_pixels_of_a_rectangle():
    corners = np.array([[2, 1], [5, 1], [5, 3], [2, 3]]) + 0.5  # centres of the corner pixels

    mask = outline_mask(corners / (10, 4), height=4, width=10)

    expected = np.zeros((4, 10), bool)
    expected[1:4, 2:6] = True
    assert (mask == expected).all()


def test_mask_is_what_matplotlib_finds_inside_but_for_the_line_itself(rng):
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = rng.uniform(0.15, 0.4, 40)
    points = np.stack([0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)], axis=1)
    height, width = 150, 210
    y, x = np.mgrid[:height, :width] + 0.5
    centres = np.stack([x.ravel() / width, y.ravel() / height], axis=1)
    inside = PolygonPath(points).contains_points(centres).reshape(height, width)
    well_inside = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    well_outside = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0

    mask = outline_mask(points, height, width)

    assert mask[well_inside].all()
    assert not mask[well_outside].any()
    assert (mask & inside).sum() > 0.998 * inside.sum()


def test_mask_cuts_off_what_lies_outside():
    mask = outline_mask(np.array([[-0.04, -0.04], [1.04, -0.04], [1.04, 1.04], [-0.04, 1.04]]), 5, 7)

    assert mask.shape == (5, 7)
    assert mask.all()
