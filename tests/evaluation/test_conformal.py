import numpy as np
import pytest
from scipy.stats import betabinom

from brain_tumor.evaluation.conformal import class_thresholds, prediction_sets, set_table


def simulated(rng, images):
    """Exchangeable images of four classes; the classifier is bad at the first and its probabilities are wrong."""
    labels = rng.choice(4, images, p=[0.1, 0.2, 0.3, 0.4])
    skill = np.array([0.5, 2, 3, 4])[labels]
    logits = rng.normal(size=(images, 4)) * 2
    logits[np.arange(images), labels] += skill
    odds = np.exp(logits * 1.7)
    return odds / odds.sum(axis=1, keepdims=True), labels


def conformal(probabilities, thresholds):
    """The sets of the theory, which can be empty."""
    return 1 - np.asarray(probabilities) <= thresholds


@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_every_class_is_covered_as_promised_on_exchangeable_data(rng, coverage):
    covered = np.zeros(4)
    repeats = 200
    for _ in range(repeats):
        thresholds = class_thresholds(*simulated(rng, 400), coverage)
        probabilities, labels = simulated(rng, 400)
        sets = conformal(probabilities, thresholds)
        hits = sets[np.arange(400), labels]
        covered += [hits[labels == index].mean() for index in range(4)]
    mean = covered / repeats
    assert (mean >= coverage - 0.012).all()  # the promise, and what 200 repeats leave to chance
    assert (mean <= coverage + 1 / 30 + 0.012).all()  # and not much more: at most 1 / (n + 1) for n of a class


def test_coverage_is_distributed_as_theory_says(rng):
    # With n scores without ties, the number covered of m new images is beta-binomial (Angelopoulos and Bates 2023).
    n, m, coverage = 19, 50, 0.9
    counts = []
    for _ in range(2000):
        scores = rng.random(n + m)
        pairs = np.stack([1 - scores, scores], axis=1)
        threshold = class_thresholds(pairs[:n], np.zeros(n, int), coverage)
        counts.append(conformal(pairs[n:], threshold)[:, 0].sum())
    rank = 18  # 20 * 0.9
    expected = betabinom(m, rank, n + 1 - rank)
    assert np.mean(counts) == pytest.approx(expected.mean(), abs=0.35)
    assert np.std(counts) == pytest.approx(expected.std(), rel=0.1)


def test_threshold_by_hand():
    own = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    probabilities = np.stack([own, 1 - own], axis=1)
    labels = np.zeros(9, int)
    assert class_thresholds(probabilities, labels, 0.8)[0] == pytest.approx(1 - 0.2)  # the 8th of 9: 10 * 0.8
    assert class_thresholds(probabilities, labels, 0.9)[0] == pytest.approx(1 - 0.1)  # the 9th: 10 * 0.9, not above
    sets = conformal([[0.21, 0.79], [0.19, 0.81]], class_thresholds(probabilities, labels, 0.8))
    assert sets[:, 0].tolist() == [True, False]


def test_a_class_with_too_few_images_is_in_every_set():
    probabilities = np.tile([1.0, 0.0], (18, 1))
    thresholds = class_thresholds(probabilities, np.zeros(18, int), 0.95)  # 19 * 0.95 is above 18
    assert thresholds.tolist() == [1, 1]
    assert prediction_sets([[0.0, 1.0], [1.0, 0.0]], thresholds).all()
    enough = class_thresholds(np.tile([0.6, 0.4], (19, 1)), np.zeros(19, int), 0.95)
    assert enough.tolist() == [pytest.approx(0.4), 1]


def test_a_set_has_the_most_probable_class_and_a_second_where_the_first_is_unsure(rng):
    probabilities, labels = simulated(rng, 300)
    thresholds = class_thresholds(probabilities, labels, 0.6)

    sets = prediction_sets(probabilities, thresholds)

    let_in, unsure = conformal(probabilities, thresholds), 0
    for row, values in enumerate(probabilities):
        first, second, *_ = sorted(range(4), key=lambda index: -values[index])
        own = {index for index in range(4) if let_in[row, index]}
        unsure += first not in own
        assert set(np.flatnonzero(sets[row])) == own | ({first} if first in own else {first, second})
    assert unsure, "no unsure image: this case says nothing"


def test_higher_coverage_never_makes_a_set_smaller(rng):
    probabilities, labels = simulated(rng, 300)
    small, large = (prediction_sets(probabilities, class_thresholds(probabilities, labels, c)) for c in (0.9, 0.95))
    assert (large >= small).all()
    assert large.sum() > small.sum()


def test_sizes_by_hand():
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.3, 0.4, 0.3], [0, 1, 0]])
    labels, thresholds = np.array([0, 0, 1, 1]), {"0.9": [0.5] * 3, "0.95": [1] * 3}
    table = set_table(probabilities, labels, ["a", "b", "c"], thresholds).set_index(["promised", "class"])
    numbers = ["images", "coverage", "mean_size", "single"]
    assert table.loc[(0.9, "all"), numbers].tolist() == [4, 1, 1.5, 0.5]
    assert table.loc[(0.9, "a"), numbers].tolist() == [2, 1, 1.5, 0.5]
    assert table.loc[(0.95, "all"), numbers].tolist() == [4, 1, 3, 0]
    assert table.loc[(0.9, "c"), "images"] == 0
    assert table.loc[(0.9, "c"), numbers[1:]].isna().all()


@pytest.mark.parametrize("coverage", [0, 1, 1.5])
def test_refuses_promises_that_cannot_be_kept(coverage):
    with pytest.raises(ValueError, match="coverage"):
        class_thresholds([[1.0, 0.0]], [0], coverage)
