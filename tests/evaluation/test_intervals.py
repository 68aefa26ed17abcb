import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from brain_tumor.evaluation.intervals import bootstrap


def mean_of(values):
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_single_images_agree_with_scipy(rng):
    values = rng.normal(size=80)
    value, low, high = bootstrap(mean_of(values), np.arange(80), seed=1, resamples=20_000)
    expected = scipy_bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=2).confidence_interval
    assert value == pytest.approx(values.mean())
    assert low == pytest.approx(expected.low, abs=0.01)
    assert high == pytest.approx(expected.high, abs=0.01)


def test_covers_the_truth_in_grouped_data_where_the_plain_bootstrap_does_not(rng):
    # 60 patients of 1 to 12 slices; a slice is correct with its patient's own probability, 0.8 on average.
    groups_cover, plain_covers, repeats = 0, 0, 200
    for seed in range(repeats):
        sizes = rng.integers(1, 13, 60)
        groups = np.repeat(np.arange(60), sizes)
        correct = rng.random(len(groups)) < rng.beta(1.6, 0.4, 60)[groups]
        for units in (groups, np.arange(len(groups))):
            _, low, high = bootstrap(mean_of(correct), units, seed, resamples=300)
            if units is groups:
                groups_cover += low <= 0.8 <= high
            else:
                plain_covers += low <= 0.8 <= high
    assert 0.90 <= groups_cover / repeats <= 0.99
    assert plain_covers / repeats < 0.75


def test_groups_are_drawn_whole():
    groups = np.array(["a", "b", "a", "c", "b"])
    seen = []
    bootstrap(lambda weights: seen.append(weights) or weights.sum(axis=1), groups, seed=3, resamples=250)
    weights = np.concatenate(seen)
    assert weights.shape == (251, 5)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    np.testing.assert_array_equal(weights[:-1, [0, 1, 3]].sum(axis=1), 3)
    assert len(np.unique(weights[:-1], axis=0)) == 10  # all the ways to draw three of three with return


def test_same_seed_same_interval_and_names_of_groups_do_not_matter(rng):
    values, groups = rng.random(50), np.repeat(np.arange(10), 5)
    first = bootstrap(mean_of(values), groups, seed=4)
    assert first == bootstrap(mean_of(values), groups * 7 + 1, seed=4)
    assert first != bootstrap(mean_of(values), groups, seed=5)


def test_one_group_has_an_interval_without_width():
    assert bootstrap(mean_of(np.array([0, 1, 1, 0])), ["a"] * 4, seed=0) == (0.5, 0.5, 0.5)


def test_undefined_scores_have_no_interval_and_undefined_samples_do_not_count():
    def statistic(weights):
        with np.errstate(invalid="ignore"):
            present = weights[:, 0] / weights[:, 0]  # 1 where the first image was drawn, else NaN
        return np.stack([present, np.full(len(weights), np.nan)], axis=1)

    estimate = bootstrap(statistic, np.arange(3), seed=0)
    np.testing.assert_array_equal(np.stack(estimate), [[1, np.nan]] * 3)


def test_refuses_no_images():
    with pytest.raises(ValueError, match="no images"):
        bootstrap(mean_of(np.empty(0)), [], seed=0)
