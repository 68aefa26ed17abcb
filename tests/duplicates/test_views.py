import cv2
import numpy as np
import pytest

from brain_tumor.duplicates.views import HALF, SIZE, VIEW, VIEWS, blocks, composed, frame_maps, framed, rescaled


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

    for (margin, right, down), shown in zip(VIEWS, through(frame_maps(VIEWS), corners[None]), strict=True):
        start = np.array([margin + right, margin + down]) * HALF - 0.5
        assert shown == pytest.approx(np.stack([start, start + (1 - 2 * margin) * HALF]), abs=1e-4)


def test_a_picture_seen_through_the_whole_frame_is_the_picture_made_small(rng):
    coarse = rng.uniform(60, 200, (8, 8))
    picture = cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(picture, (0, 0), 3)

    seen = framed(picture[None], VIEWS[:1])[0, 0]

    assert seen == pytest.approx(cv2.resize(blurred, (VIEW, VIEW), interpolation=cv2.INTER_AREA), abs=6)


def test_blocks_cover_everything_once():
    assert [row for block in blocks(10, 4) for row in range(10)[block]] == list(range(10))
    assert list(blocks(0)) == []
