import numpy as np

from brain_tumor.evaluation.blanking import blank_out, elsewhere, widen


def disc(size, x, y, radius):
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def test_a_tumour_on_a_gradient_becomes_the_gradient():
    clean = np.tile(np.linspace(40, 200, 100), (100, 1)).round().astype(np.uint8)
    mask = disc(100, 60, 45, 8)
    image = np.where(mask, 255, clean).astype(np.uint8)
    images, masks = np.stack([image, image]), np.stack([mask, np.zeros_like(mask)])

    filled = blank_out(images, masks)

    assert np.abs(filled[0].astype(int) - clean).max() <= 12
    outside = ~widen(masks)[0]
    np.testing.assert_array_equal(filled[0][outside], image[outside])
    np.testing.assert_array_equal(filled[1], image)  # nothing to blank
    np.testing.assert_array_equal(images[0], image)  # the input stays


def test_widen_reaches_two_hundredths_of_the_side():
    masks = np.zeros((1, 100, 100), bool)
    masks[0, 50, 50] = True
    wide = widen(masks)[0]
    assert (wide[50].sum(), wide[:, 50].sum()) == (5, 5)
    assert widen(np.zeros((0, 8, 8), bool)).shape == (0, 8, 8)


def test_the_other_side_is_clear_unless_the_tumour_is_in_the_middle():
    masks = np.stack([disc(100, 20, 40, 8), disc(100, 50, 40, 8), disc(100, 38, 40, 8)])
    mirrored, clear = elsewhere(masks)
    np.testing.assert_array_equal(mirrored[0], disc(100, 79, 40, 8))
    assert clear.tolist() == [True, False, True]
    close = disc(100, 42, 40, 6)  # clear as drawn, but not when widened
    assert not (close & close[:, ::-1]).any()
    assert not elsewhere(close[None])[1][0]
