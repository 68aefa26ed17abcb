import cv2
import numpy as np
import pandas as pd
import pytest

from brain_tumor.duplicates.alignment import ALIGNED, AS_IT_STANDS, DETAIL, aligned_agreement, correlate
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

    assert aligned_agreement(one, other, STILL) > 0.99 > plain
    assert aligned_agreement(other, one, STILL) > 0.99


def test_unlike_pictures_stay_unlike(rng):
    assert aligned_agreement(picture(rng), picture(rng), STILL) < 0.9


def test_agreement_of_candidates(rng):
    texture = cv2.GaussianBlur(rng.normal(0, 30, (SIZE, SIZE)), (0, 0), 1)
    one, other = (np.clip(picture(rng) * 0.8 + texture, 0, 255).astype(np.uint8) for _ in range(2))
    darker = np.rint(255 * (one / 255.0) ** 2).astype(np.uint8)
    smaller = moved(one, np.array([[0.96, 0, 2], [0, 0.96, 2]], np.float32))
    images = np.stack([one, one[:, ::-1], other, one // 2 + 30, one[::-1], darker, smaller])
    candidates = pd.DataFrame({"image": 0, "other": [1, 1, 2, 3, 4, 5, 6], "view": 0, "flip": [1, 0, 0, 0, 2, 0, 0]})

    for framed in (False, True):
        agree, told = correlate(images, candidates, 0.99, framed)
        mirror, unmirrored, unlike, paler, upside_down, gamma, crop = agree

        assert min(mirror, upside_down, paler, gamma) > 0.99 > 0.95 > max(unmirrored, unlike)
        assert told[[0, 4, 5]].tolist() == [AS_IT_STANDS, AS_IT_STANDS, DETAIL]
        assert (crop > 0.99) == framed
    assert told[6] == ALIGNED
