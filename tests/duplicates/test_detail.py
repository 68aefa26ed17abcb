import cv2
import numpy as np
import pytest

from brain_tumor.duplicates.correlation import tone_correlation
from brain_tumor.duplicates.detail import detail_correlation, details
from brain_tumor.duplicates.views import FLIPS, SIZE, flipped


@pytest.fixture
def pictures(rng):
    """Ten pictures with coarse and fine content, between grey 40 and 215."""
    coarse = np.stack([cv2.resize(grey, (SIZE, SIZE)) for grey in rng.normal(0, 1, (10, 8, 8))])
    fine = np.stack([cv2.GaussianBlur(grey, (0, 0), 1.2) for grey in rng.normal(0, 1, (10, SIZE, SIZE))])
    return np.clip(128 + 30 * coarse + 60 * fine, 40, 215).astype(np.uint8)


def sharpened(grey, amount):
    soft = cv2.GaussianBlur(grey.astype(float), (0, 0), 3)
    return np.clip(grey + amount * (grey - soft), 0, 255).astype(np.uint8)


def test_sharpening_leaves_the_detail_but_not_the_grey_values(pictures):
    changed = np.stack([sharpened(grey, 5) for grey in pictures])

    assert tone_correlation(pictures.reshape(10, -1), changed.reshape(10, -1)).max() < 0.97
    assert detail_correlation(details(pictures), details(changed)).min() > 0.99


def test_other_pictures_have_other_detail(pictures):
    assert not detail_correlation(details(pictures), details(pictures[::-1])).any()


def test_brightness_and_contrast_hardly_change_the_detail(pictures):
    paler = np.rint(pictures * 0.6 + 50).astype(np.uint8)

    difference = details(pictures).astype(int) - details(paler)

    assert np.abs(difference).mean() < 4, "of the 40 steps of a standard deviation"


@pytest.mark.parametrize("flip", range(len(FLIPS)))
def test_detail_of_a_flipped_picture_is_the_flipped_detail(pictures, flip):
    difference = details(flipped(pictures, flip)).astype(int) - flipped(details(pictures), flip)

    assert np.abs(difference).max() <= 1


def test_one_grey_has_no_detail():
    flat = details(np.full((1, SIZE, SIZE), 77, np.uint8))

    assert (flat == 128).all()
    assert detail_correlation(flat, flat) == 0
