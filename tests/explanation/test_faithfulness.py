import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brain_tumor.explanation.faithfulness import (
    STEPS,
    area,
    blurred,
    curves,
    deletion_insertion,
    deletion_insertion_summary,
)

SIZE, IMAGES = 8, 5


def linear(weights):
    return lambda images: np.einsum("nhw,chw->nc", images, weights) / 255


@pytest.fixture
def case(rng):
    images = rng.integers(0, 256, (IMAGES, SIZE, SIZE), dtype=np.uint8)
    return images, np.arange(IMAGES) % 2, rng.random((2, SIZE, SIZE))


def test_a_linear_model_loses_what_the_map_says(case, rng):
    images, targets, weights = case
    maps = rng.permuted(np.tile(np.arange(64, dtype=np.float32), (IMAGES, 1)), axis=1).reshape(IMAGES, SIZE, SIZE)
    black = np.zeros_like(images)

    deletion, insertion = curves(linear(weights), images, black, targets, maps, steps=64)

    for row in range(IMAGES):
        parts = (images[row] * weights[targets[row]] / 255).ravel()[np.argsort(-maps[row].ravel())]
        np.testing.assert_allclose(insertion[row], [0, *np.cumsum(parts)], atol=1e-9)
        np.testing.assert_allclose(deletion[row], parts.sum() - insertion[row], atol=1e-9)


@given(hnp.arrays(np.float32, (IMAGES, 4, 4), elements=st.floats(0, 1, width=32)), st.integers(1, 9))
def test_curves_meet_at_their_ends_whatever_the_map(maps, steps):
    rng = np.random.default_rng(4)
    images, baseline = rng.integers(0, 256, (2, IMAGES, SIZE, SIZE), dtype=np.uint8)
    ask = linear(rng.random((1, SIZE, SIZE)))
    targets = np.zeros(IMAGES, np.int64)
    deletion, insertion = curves(ask, images, baseline, targets, maps, steps)
    np.testing.assert_array_equal(deletion[:, 0], ask(images)[:, 0])
    np.testing.assert_array_equal(insertion[:, 0], ask(baseline)[:, 0])
    np.testing.assert_array_equal(deletion[:, -1], insertion[:, 0])
    np.testing.assert_array_equal(insertion[:, -1], deletion[:, 0])


def test_area_of_known_curves():
    assert area(np.array([0.0, 0.5, 1.0])) == pytest.approx(0.5)
    np.testing.assert_allclose(area(np.array([[1.0, 0, 0, 0, 0], [0.3] * 5])), [0.125, 0.3])


def test_summary_holds_the_areas_of_the_mean_curves(case, rng):
    images, targets, weights = case
    maps = (images * weights[targets]).astype(np.float32)
    table = deletion_insertion(linear(weights), images, targets, maps, rng)
    assert table["pixels"].tolist() == pytest.approx(np.arange(STEPS + 1) / STEPS)
    deletion, insertion = curves(linear(weights), images, blurred(images), targets, maps)
    summary = deletion_insertion_summary(table)
    assert summary["deletion"]["model"] == pytest.approx(area(deletion).mean(), abs=1e-4)
    assert summary["insertion"]["model"] == pytest.approx(area(insertion).mean(), abs=1e-4)
    assert table["deletion_random"].iloc[-1] == pytest.approx(table["insertion"].iloc[0])


def test_blurring_keeps_the_mean_and_removes_detail(rng):
    images = rng.integers(0, 256, (2, 64, 64), dtype=np.uint8)
    assert blurred(images).mean() == pytest.approx(images.mean(), abs=3)
    assert blurred(images).std() < images.std() / 5
