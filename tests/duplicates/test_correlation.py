import numpy as np
import pytest

from brain_tumor.duplicates.correlation import plain_correlation, unit


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


def test_pictures_of_one_grey_agree_with_none(rng):
    flat, textured = np.full((1, 100), 128, np.uint8), rng.integers(0, 256, (1, 100), np.uint8)

    assert plain_correlation(flat, textured) == 0
    assert not unit(flat).any()
