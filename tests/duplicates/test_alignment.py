import cv2
import numpy as np
import pandas as pd
import pytest

from brain_tumor.duplicates.alignment import aligned_correlation, correlate
from brain_tumor.duplicates.views import SIZE

STILL = np.eye(2, 3, dtype=np.float32)


def picture(rng):
    coarse = rng.normal(120, 45, (10, 10))
    return np.clip(cv2.resize(coarse, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def moved(grey, warp):
    """Pixel p shows what is at pixel `warp` p of the picture."""
    return cv2.warpAffine(grey, warp, (SIZE, SIZE), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


@pytest.mark.parametrize(
    "warp",
    [
        [[1, 0, 1.5], [0, 1, -1]],
        [[1.03, 0, -1.5], [0, 1.03, -1]],
        [[0.97, 0, 1.5], [0, 0.97, 1]],
        [[1, 0.05, -2.4], [-0.05, 1, 2.4]],
    ],
    ids=["shift", "shrink", "enlarge", "turn"],
)
def test_a_small_affine_map_is_found(rng, warp):
    one = picture(rng)
    other = moved(one, np.array(warp, np.float32))
    content = np.s_[:, 8:-8, 8:-8]

    plain = np.corrcoef(one[None][content].ravel(), other[None][content].ravel())[0, 1]

    assert aligned_correlation(one, other, STILL) > 0.99 > plain
    assert aligned_correlation(other, one, STILL) > 0.99


def test_unlike_pictures_stay_unlike(rng):
    assert aligned_correlation(picture(rng), picture(rng), STILL) < 0.9


def test_correlation_of_candidates(rng):
    one, other = picture(rng), picture(rng)
    images = np.stack([one, one[:, ::-1], other, np.clip(one * 0.8 + 30, 0, 255).astype(np.uint8), one[::-1]])
    candidates = pd.DataFrame({"image": [0, 0, 0, 0, 0], "other": [1, 1, 2, 3, 4], "view": 0, "flip": [1, 0, 0, 0, 2]})

    mirror, unmirrored, unlike, paler, upside_down = correlate(images, candidates, enough=0.99)

    assert mirror == pytest.approx(1)
    assert upside_down == pytest.approx(1)
    assert paler == pytest.approx(1, abs=1e-3)
    assert max(unmirrored, unlike) < 0.9
