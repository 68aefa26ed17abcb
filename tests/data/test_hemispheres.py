import numpy as np
import pytest

from brain_tumor.data.drawing import blurred
from brain_tumor.data.hemispheres import LEFT, NEITHER, RIGHT, mirrored_hemispheres, one_sided, tumour_sides
from brain_tumor.data.images import WHOLE, Frame

SIDE = 80


def head(seed):
    """An oval on black, whose hemispheres are the same but for noise."""
    noise = blurred(np.random.default_rng(seed).random((SIDE, SIDE)).astype(np.float32), 3)
    even = noise + noise[:, ::-1]
    even = (even - even.min()) / np.ptp(even)
    values = 60 + 140 * even + np.random.default_rng(seed + 1).uniform(0, 40, (SIDE, SIDE))
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE - 1) - 0.5
    return np.where((columns / 0.42) ** 2 + (rows / 0.5) ** 2 < 1, values, 0).astype(np.uint8)


def disc(x, y, radius):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_sides_by_hand():
    masks = np.stack([disc(15, 40, 8), disc(64, 30, 8), disc(40, 40, 8), disc(29, 40, 8), np.zeros((SIDE, SIDE), bool)])
    images = np.stack([head(seed) for seed in range(len(masks))])
    assert tumour_sides(images, masks).tolist() == [LEFT, RIGHT, NEITHER, NEITHER, NEITHER]


def test_one_sided_images_are_found_by_their_outlines_within_the_frame_of_the_head():
    outline = np.array([(0.55, 0.3), (0.7, 0.3), (0.7, 0.5), (0.55, 0.5)])
    middle = outline - (0.12, 0)
    in_the_left_half_of_its_frame = Frame(0.5, 0.0, 1.0, 1.0)
    paths, frames = ["a", "b", "no outline", "c"], [WHOLE, WHOLE, WHOLE, in_the_left_half_of_its_frame]
    images = np.stack([head(seed) for seed in range(len(paths))])

    rows, sides = one_sided({"a": outline, "b": middle, "c": outline}, paths, frames, images)

    assert (rows.tolist(), sides.tolist()) == ([0, 3], [RIGHT, LEFT])


def test_what_is_not_like_its_mirror_image_has_no_sides():
    ramp = np.tile(np.linspace(0, 255, SIDE), (SIDE, 1)).astype(np.uint8)
    flat = np.full((SIDE, SIDE), 90, np.uint8)
    assert tumour_sides(np.stack([ramp, flat]), np.stack([disc(15, 40, 8)] * 2)).tolist() == [NEITHER, NEITHER]
    assert tumour_sides(np.zeros((0, SIDE, SIDE), np.uint8), np.zeros((0, SIDE, SIDE), bool)).shape == (0,)


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_one_hemisphere_stays_and_the_other_is_its_mirror_image(side):
    images = np.stack([head(0), head(7)])
    before = images.copy()
    whole = mirrored_hemispheres(images, np.array([side, 1 - side]))
    np.testing.assert_array_equal(whole, whole[:, :, ::-1])
    for result, image, kept in zip(whole, images, [side, 1 - side], strict=True):
        half = slice(None, SIDE // 2) if kept == LEFT else slice(SIDE // 2, None)
        np.testing.assert_array_equal(result[:, half], image[:, half])
    np.testing.assert_array_equal(images, before)


def test_the_hemisphere_without_makes_a_head_that_holds_none_of_the_tumour():
    clean, mask = head(3), disc(60, 30, 9)
    image = np.where(mask, 255, clean).astype(np.uint8)
    (side,) = tumour_sides(image[None], mask[None])
    without = mirrored_hemispheres(image[None], np.array([1 - side]))[0]
    doubled = mirrored_hemispheres(image[None], np.array([side]))[0]
    assert (without == 255).sum() == 0
    assert (doubled == 255).sum() == 2 * mask.sum()
