import cv2
import numpy as np
import pytest

from brain_tumor.duplicates.correlation import plain_correlation
from brain_tumor.duplicates.detail import agreement, detail
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


def details(images):
    return np.stack([detail(image) for image in images])


def test_sharpening_leaves_the_detail_but_not_the_grey_values(pictures):
    changed = np.stack([sharpened(grey, 5) for grey in pictures])

    plain = plain_correlation(pictures, changed)
    fine = plain_correlation(details(pictures), details(changed))

    assert plain.max() < 0.97
    assert fine.min() > 0.95
    assert agreement(plain, fine, False).min() > 0.99


def test_other_pictures_have_other_detail(pictures):
    assert plain_correlation(details(pictures), details(pictures[::-1])).max() < 0.5


def test_brightness_and_contrast_hardly_change_the_detail(pictures):
    paler = np.rint(pictures * 0.6 + 50).astype(np.uint8)

    difference = details(pictures).astype(int) - details(paler)

    assert np.abs(difference).mean() < 4, "of the 40 steps of a standard deviation"


@pytest.mark.parametrize("flip", range(len(FLIPS)))
def test_detail_of_a_flipped_picture_is_the_flipped_detail(pictures, flip):
    difference = details(flipped(pictures, flip)).astype(int) - flipped(details(pictures), flip)

    assert np.abs(difference).max() <= 1


def test_one_grey_has_no_detail():
    assert (detail(np.full((SIZE, SIZE), 77, np.uint8)) == 128).all()


@pytest.mark.parametrize("framed", [False, True])
def test_agreement_grows_with_grey_values_and_with_detail(framed):
    """Between 0 and 1, and 0.99 where one of the two is just enough."""
    steps = np.linspace(0, 1, 101)

    by_detail = agreement(0.9, steps, framed)
    by_both = agreement(steps, steps, framed)

    assert (np.diff(by_detail) >= 0).all()
    assert (np.diff(by_both) >= 0).all()
    assert by_both[[0, -1]].tolist() == [0, 1]
    assert agreement(0.995, 0, framed) == pytest.approx(0.99)
    assert agreement(0.9945, 0.94, framed) == pytest.approx(0.99)


def test_of_neighbouring_slices_detail_is_asked_the_more_the_better_grey_values_agree():
    """Measured on LGG: the neighbours that come closest, and sharpened duplicates of the main set."""
    neighbours = np.array([[0.991, 0.931], [0.989, 0.921], [0.964, 0.848]])
    sharpened = np.array([[0.967, 0.870], [0.955, 0.905], [0.900, 0.858]])

    assert agreement(*neighbours.T, False).max() < 0.99 < agreement(*sharpened.T, False).min()
