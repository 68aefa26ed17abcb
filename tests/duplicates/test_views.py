import cv2
import numpy as np
import pytest

from brain_tumor.duplicates.views import (
    HALF,
    SIZE,
    VIEW,
    VIEWS,
    blocks,
    composed,
    frame_maps,
    framed,
    looks_at,
    rescaled,
)


def through(maps, points):
    """(maps, points, 2): what affine maps make of points."""
    return points @ maps[:, :, :2].transpose(0, 2, 1) + maps[:, None, :, 2]


@pytest.fixture
def maps(rng):
    return (np.eye(2, 3) + rng.normal(0, 0.1, (2, 4, 2, 3))).astype(np.float32)


def test_composed_maps_map_one_after_the_other(rng, maps):
    outer, inner = maps
    points = rng.uniform(0, 50, (4, 7, 2))

    assert through(composed(outer, inner), points) == pytest.approx(through(outer, through(inner, points)), rel=1e-4)


def test_a_rescaled_map_links_the_same_places(rng, maps):
    """A place is at pixel (place + 1/2) * times - 1/2 of a picture that is so many times as large."""
    places = rng.uniform(0, 20, (4, 7, 2))

    def at(points, times):
        return (points + 0.5) * times - 0.5

    assert through(rescaled(maps[0], to=3, by=2), at(places, 2)) == pytest.approx(
        at(through(maps[0], places), 3), rel=1e-3, abs=1e-3
    )


def test_a_frame_maps_its_corners_to_the_crop():
    corners = np.array([[-0.5, -0.5], [VIEW - 0.5, VIEW - 0.5]])

    for (left, top, right, bottom), shown in zip(VIEWS, through(frame_maps(VIEWS), corners[None]), strict=True):
        assert shown == pytest.approx(HALF * np.array([[left, top], [1 - right, 1 - bottom]]) - 0.5, abs=1e-4)


def test_a_picture_seen_through_the_whole_frame_is_the_picture_made_small(rng):
    coarse = rng.uniform(60, 200, (8, 8))
    picture = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(picture, (0, 0), 3)

    seen = framed(picture[None], VIEWS[:1])[0, 0]

    assert seen == pytest.approx(cv2.resize(blurred, (VIEW, VIEW), interpolation=cv2.INTER_AREA), abs=6)


def test_blocks_cover_everything_once():
    assert [row for block in blocks(10, 4) for row in range(10)[block]] == list(range(10))
    assert list(blocks(0)) == []


def head(rng, width=300, height=360):
    """A bright textured ellipse that touches all four borders, on black."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    texture = cv2.resize(rng.uniform(90, 220, (9, 9)), (width, height), interpolation=cv2.INTER_CUBIC).clip(60, 250)
    return np.where(np.hypot(x, y) < 1, texture, 0).astype(np.uint8)


def bordered(picture, grey, left=60, right=20):
    return np.pad(picture, ((0, 0), (left, right)), constant_values=grey)


@pytest.mark.parametrize(
    "change",
    [
        lambda picture: np.pad(picture, ((70, 40), (100, 10))),
        lambda picture: bordered(np.pad(picture, 30), 255),
        lambda picture: bordered(picture, 128, 90, 0),
        lambda picture: cv2.resize(picture, (200, 200), interpolation=cv2.INTER_AREA),
        lambda picture: cv2.resize(np.pad(picture, ((0, 0), (200, 200))), (150, 150), interpolation=cv2.INTER_AREA),
    ],
    ids=["loose", "white border", "grey on one side", "squeezed", "letterboxed and squeezed"],
)
def test_the_frame_of_the_head_shows_the_same_however_it_is_cut(rng, change):
    picture = head(rng)

    framed_head, changed = looks_at(picture)[1], looks_at(change(picture))[1]

    assert np.corrcoef(framed_head.ravel(), changed.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (120, 300)])
def test_where_no_head_stands_out_the_frame_is_that_of_the_content(rng, shape):
    texture = cv2.resize(rng.uniform(110, 250, (6, 15)), shape[::-1]).astype(np.uint8)

    whole, frame, _ = looks_at(texture)
    bordered_frame = looks_at(np.pad(texture, 9, constant_values=9))[1]

    assert (frame == whole).all()
    assert (looks_at(np.full(shape, 50, np.uint8)) == 50).all()
    if min(shape) > 7:
        assert np.corrcoef(bordered_frame.ravel(), whole.ravel())[0, 1] > 0.95
