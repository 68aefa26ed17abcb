import cv2
import numpy as np
import pytest

from brain_tumor.duplicates.candidates import build_index, candidate_pairs, describe, projection
from brain_tumor.duplicates.views import FLIPS, SIZE, VIEW, VIEWS, flipped


def pictures(rng, number):
    coarse = rng.normal(120, 45, (number, 12, 12))
    return np.stack([cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC) for picture in coarse])


def as_images(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def test_candidates_are_named_once_and_hold_every_duplicate(rng):
    originals = as_images(pictures(rng, 30))
    changed = [originals[:5, :, ::-1], originals[5:10, ::-1], originals[10:15, ::-1, ::-1]]
    images = np.concatenate([originals, *changed, as_images(originals[15:20] * 0.8 + 20)])

    found = candidate_pairs(images, np.arange(len(images)))

    pairs = [(*sorted((row.image, row.other)), row.flip) for row in found.itertuples()]
    assert len(set(pairs)) == len(pairs)
    assert {(row, row + 30, flip) for row, flip in enumerate(np.repeat([1, 2, 3, 0], 5))} <= set(pairs)
    assert len(pairs) < 120, "hardly any of the 4,880 other pairs is a candidate"


def test_rows_that_are_not_asked_for_are_in_no_pair(rng):
    images = as_images(np.repeat(pictures(rng, 5), 3, axis=0))
    rows = np.flatnonzero(np.arange(15) % 3 != 1)

    found = candidate_pairs(images, rows)

    assert set(found["image"]) | set(found["other"]) <= set(rows)
    assert {tuple(sorted(pair)) for pair in found[["image", "other"]].to_numpy()} >= {(n, n + 2) for n in (0, 3, 6)}


def test_a_large_index_finds_what_the_exact_search_finds(rng):
    features = rng.normal(size=(4_000, 64)).astype(np.float32)
    features[2_000:] = features[:2_000] + 0.3 * features[2_000:]
    features /= np.linalg.norm(features, axis=1, keepdims=True)

    _, neighbours = build_index(features).search(features[:200], 2)

    exact = np.argsort(-(features[:200] @ features.T), axis=1)[:, :2]
    assert (neighbours == exact).all(1).mean() >= 0.97


def test_descriptions_have_length_one_and_pictures_of_one_grey_have_none(rng):
    for number in (50, 1_500):  # below and above what tells components of its own
        coarse = rng.integers(0, 256, (number, VIEW, VIEW), np.uint8)
        coarse[0] = 77

        lengths = np.linalg.norm(describe(coarse, *projection(coarse))[0], axis=1)

        assert lengths[0] == 0
        assert np.allclose(lengths[1:], 1, atol=1e-5)


def test_to_flip_the_description_is_to_flip_the_picture(rng):
    coarse = rng.integers(0, 256, (30, VIEW, VIEW), np.uint8)
    centre, basis = rng.normal(size=VIEW**2).astype(np.float32), rng.normal(size=(VIEW**2, 64)).astype(np.float32)

    described = describe(coarse, centre, basis, range(len(FLIPS)))

    for flip, features in enumerate(described):
        assert features == pytest.approx(describe(flipped(coarse, flip), centre, basis)[0], abs=1e-4)


def test_only_what_is_sought_is_compared_with_all(rng):
    images = as_images(np.repeat(pictures(rng, 6), 2, axis=0))

    found = candidate_pairs(images, np.arange(12), VIEWS[:1], np.array([0, 5]))

    assert {(0, 1), (5, 4)} <= set(found[["image", "other"]].itertuples(index=False, name=None))
    assert set(found["image"]) == {0, 5}
