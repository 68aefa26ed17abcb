import numpy as np

from brain_tumor.data.masks import widen
from brain_tumor.evaluation.lesion_removal import elsewhere, inpaint, lesion_removed_images


def disc(size, x, y, radius):
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_a_tumour_on_a_gradient_becomes_the_gradient():
    clean = np.tile(np.linspace(40, 200, 100), (100, 1)).round().astype(np.uint8)
    mask = disc(100, 60, 45, 8)
    image = np.where(mask, 255, clean).astype(np.uint8)
    images, masks = np.stack([image, image]), np.stack([mask, np.zeros_like(mask)])

    filled = inpaint(images, masks)

    assert np.abs(filled[0].astype(int) - clean).max() <= 12
    outside = ~widen(masks)[0]
    np.testing.assert_array_equal(filled[0][outside], image[outside])
    np.testing.assert_array_equal(filled[1], image)  # nothing to blank
    np.testing.assert_array_equal(images[0], image)  # the input stays


def test_the_other_side_is_clear_unless_the_tumour_is_in_the_middle():
    masks = np.stack([disc(100, 20, 40, 8), disc(100, 50, 40, 8), disc(100, 38, 40, 8)])
    mirrored, clear = elsewhere(masks)
    np.testing.assert_array_equal(mirrored[0], disc(100, 79, 40, 8))
    assert clear.tolist() == [True, False, True]
    close = disc(100, 42, 40, 6)  # clear as drawn, but not when widened
    assert not (close & close[:, ::-1]).any()
    assert not elsewhere(close[None])[1][0]


def test_what_is_taken_out_is_the_tumour_or_as_much_elsewhere():
    rows, columns = np.mgrid[:100, :100]
    clean = (60 + 40 * np.cos(np.abs(columns - 49.5) / 6) + rows / 4).astype(np.uint8)
    masks = np.stack([disc(100, 20, 40, 8), disc(100, 50, 40, 8)])
    images = np.where(masks, 255, clean).astype(np.uint8)

    done = lesion_removed_images(images, masks)

    assert {name: those.tolist() for name, (those, _) in done.items()} == {
        "the tumour": [True, True],
        "the same place on the other side": [True, False],
        "the half with it": [True, False],
        "the other half": [True, False],
    }
    left = {name: [int((picture == 255).sum()) for picture in pictures] for name, (_, pictures) in done.items()}
    tumour = int(masks[0].sum())
    assert left == {
        "the tumour": [0, 0],
        "the same place on the other side": [tumour],
        "the half with it": [0],
        "the other half": [2 * tumour],
    }
    np.testing.assert_array_equal(done["the half with it"][1][0], clean)
