import numpy as np
import pytest

from brain_tumor.augment.synthetic_tumours import draw_synthetic_tumour


@pytest.fixture
def head():
    """A textured oval on black, 96 pixels a side."""
    y, x = np.mgrid[:96, :96]
    inside = ((y - 48) / 45) ** 2 + ((x - 48) / 38) ** 2 < 1
    texture = np.random.default_rng(0).normal(110, 6, (96, 96))
    return np.where(inside, texture, 0).clip(0, 255).astype(np.uint8)


def changes(head, seeds=60):
    return [draw_synthetic_tumour(head, np.random.default_rng(seed))[0].astype(int) - head for seed in range(seeds)]


def test_the_same_draw_gives_the_same_tumour_and_another_one_another(head):
    first, again, other = (draw_synthetic_tumour(head, np.random.default_rng(seed))[0] for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
    assert first.shape == head.shape


def test_tumours_lie_within_the_head_and_can_be_seen(head):
    for change in changes(head):
        plain = np.abs(change) > 15
        assert 10 < plain.sum() < 0.55 * (head > 0).sum()
        assert plain[head > 0].sum() > 0.9 * plain.sum()


def test_tumours_differ_in_place_size_and_brightness(head):
    y, x = np.mgrid[:96, :96]
    masks = [np.abs(change) > 15 for change in changes(head)]
    centres = np.array([(x[mask].mean(), y[mask].mean()) for mask in masks])
    sizes = np.array([mask.sum() for mask in masks])
    brighter = np.array([change[mask].mean() > 0 for change, mask in zip(changes(head), masks, strict=True)])

    assert (centres.std(axis=0) > 6).all()
    assert sizes.max() > 5 * sizes.min()
    assert 0.3 < brighter.mean() < 0.95


def test_a_black_picture_and_a_tiny_head_can_be_drawn_into():
    speck = np.zeros((64, 64), np.uint8)
    speck[30:34, 30:34] = 200

    for picture in (np.zeros((64, 64), np.uint8), speck):
        assert draw_synthetic_tumour(picture, np.random.default_rng(0))[0].shape == picture.shape
