import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_tumor.explanation.sample import choose
from brain_tumor.figures.maps import blend

NAMES = ("cat", "dog", "owl")

predictions = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(predictions, st.integers(1, 5), st.randoms(use_true_random=False))
def test_choice_is_complete_and_independent_of_the_order_of_rows(cases, limit, random):
    rows = [(f"{number}.png", truth, called) for number, (truth, called) in enumerate(cases)]
    shuffled = random.sample(rows, len(rows))

    chosen, again = (choose(*zip(*table, strict=True), NAMES, limit) for table in (rows, shuffled))

    assert [(rows[c.row][0], c.name) for c in chosen] == [(shuffled[c.row][0], c.name) for c in again]
    assert len({c.name for c in chosen}) == len(chosen) == len({c.row for c in chosen})
    for label, name in enumerate(NAMES):
        for word, right in (("right", True), ("wrong", False)):
            there = sum(t == label and (c == label) == right for _, t, c in rows)
            mine = [c for c in chosen if c.truth == label and c.correct == right]
            expected = [f"{name}_{word}_{number}.png" for number in range(1, min(limit, there) + 1)]
            assert [c.name for c in mine] == expected
    for choice in chosen:
        assert rows[choice.row][1:] == (choice.truth, choice.prediction)
        assert choice.targets == ((choice.truth,) if choice.correct else (choice.prediction, choice.truth))


def test_a_changed_prediction_leaves_the_other_classes_alone():
    paths, labels = [f"{number}.png" for number in range(30)], np.arange(30) % 3
    before = choose(paths, labels, labels, NAMES, 4)
    changed = np.where(np.arange(30) == 0, 1, labels)
    after = choose(paths, labels, changed, NAMES, 4)
    assert [c for c in before if c.truth] == [c for c in after if c.truth]
    assert [c.row for c in after if not c.correct] == [0]


@pytest.mark.parametrize(
    ("paths", "labels", "called"), [(["a"], [0, 1], [0, 1]), (["a", "a"], [0, 1], [0, 1]), (["a", "b"], [0, 1], [0])]
)
def test_choose_refuses_what_does_not_agree(paths, labels, called):
    with pytest.raises(ValueError, match="paths"):
        choose(paths, labels, called, NAMES, 1)


def test_blend_leaves_cold_places_grey_and_colours_hot_ones(rng):
    image = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 1
    mixed = blend(image, heat)
    cold = heat == 0
    np.testing.assert_array_equal(mixed[cold], np.repeat(image[cold][:, None], 3, axis=1))
    assert mixed[2, 3, 0] > mixed[2, 3, 2] + 50  # yellow
