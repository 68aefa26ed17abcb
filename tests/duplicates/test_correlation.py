import numpy as np
import pytest

from brain_tumor.duplicates.correlation import inner, plain_correlation, tone_correlation, unit


@pytest.fixture
def pairs(rng):
    """Grey values of six pairs of pictures that agree more and more."""
    first = rng.integers(0, 256, (6, 400))
    share = np.linspace(0, 0.9, 6)[:, None]
    second = np.clip(share * first + (1 - share) * rng.integers(0, 256, (6, 400)), 0, 255)
    return first.astype(np.uint8), second.astype(np.uint8)


def test_plain_correlation_is_pearsons(pairs):
    wanted = [np.corrcoef(one, other)[0, 1] for one, other in zip(*pairs, strict=True)]

    assert plain_correlation(*pairs) == pytest.approx(wanted, abs=1e-5)


def fit(grey, target):
    """Multiple correlation of a cubic curve, by least squares."""
    curve = np.polynomial.Polynomial.fit(grey.astype(float), target.astype(float), 3)
    return np.corrcoef(curve(grey.astype(float)), target)[0, 1]


def test_tone_correlation_is_that_of_the_best_cubic_curve(pairs):
    wanted = [max(fit(one, other), fit(other, one)) for one, other in zip(*pairs, strict=True)]

    assert tone_correlation(*pairs) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_a_tone_curve_does_not_matter_but_noise_does(rng, gamma):
    grey = rng.uniform(20, 235, (1, 400))
    changed = 255 * (grey / 255) ** gamma

    assert tone_correlation(grey, changed)[0] > 0.999
    assert tone_correlation(grey, changed + rng.normal(0, 40, changed.shape))[0] < 0.96


def test_pictures_of_one_grey_agree_with_none(rng):
    flat, textured = np.full((1, 100), 128, np.uint8), rng.integers(0, 256, (1, 100), np.uint8)

    assert plain_correlation(flat, textured) == 0
    assert tone_correlation(flat, textured) == 0
    assert not unit(flat).any()


def test_the_inner_pixels_are_those_off_the_border():
    picture = np.arange(25).reshape(1, 5, 5)

    assert inner(picture, 1).tolist() == [[6, 7, 8, 11, 12, 13, 16, 17, 18]]
