import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_tumor.data.arrays import BATCH
from brain_tumor.explanation.sample import choose, explain, fixed_sample, maps_summary

NAMES = ("cat", "dog", "owl")

predictions = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@given(predictions, st.integers(1, 5), st.randoms(use_true_random=False))
def test_choice_is_complete_and_independent_of_the_order_of_rows(cases, limit, random):
    rows = [(f"{number}.png", truth, predicted) for number, (truth, predicted) in enumerate(cases)]
    shuffled = random.sample(rows, len(rows))

    chosen, again = (choose(*zip(*table, strict=True), NAMES, limit) for table in (rows, shuffled))

    assert {name: rows[row] for name, row in chosen.items()} == {name: shuffled[row] for name, row in again.items()}
    assert len(set(chosen.values())) == len(chosen)
    expected = []
    for label, name in enumerate(NAMES):
        for word, correct in (("correct", True), ("wrong", False)):
            there = [row for row, (t, p) in enumerate(cases) if t == label and (p == label) == correct]
            expected += [f"{name}_{word}_{number}.png" for number in range(1, min(limit, len(there)) + 1)]
            assert {row for file, row in chosen.items() if file.startswith(f"{name}_{word}")} <= set(there)
    assert list(chosen) == expected


def test_a_changed_prediction_leaves_the_other_classes_alone():
    paths, labels = [f"{number}.png" for number in range(30)], np.arange(30) % 3
    before = choose(paths, labels, labels, NAMES, 4)
    after = choose(paths, labels, np.where(np.arange(30) == 0, 1, labels), NAMES, 4)
    assert {name: row for name, row in after.items() if "cat" not in name}.items() <= before.items()
    assert after["cat_wrong_1.png"] == 0


@pytest.mark.parametrize(
    ("paths", "labels", "predicted"), [(["a"], [0, 1], [0, 1]), (["a", "a"], [0, 1], [0, 1]), (["a", "b"], [0, 1], [0])]
)
def test_choose_refuses_what_does_not_agree(paths, labels, predicted):
    with pytest.raises(ValueError, match="paths"):
        choose(paths, labels, predicted, NAMES, 1)


def maps_of(rows, targets):
    """Maps that hold row and class."""
    assert 0 < len(rows) <= BATCH
    values = np.zeros((len(rows), 2, 2), np.float32)
    values[:, 0, 0], values[:, 1, 1] = rows, targets
    return values


def test_every_choice_gets_the_maps_of_its_own_row_and_classes(rng):
    labels = np.arange(70) % 3
    predicted = np.where(np.arange(70) % 2, labels, 2 - labels)
    probabilities = np.where(np.eye(3)[predicted] > 0, 0.8, 0.1)
    images = rng.integers(0, 256, (70, 8, 8), dtype=np.uint8)
    chosen = choose([f"{row}.png" for row in range(70)], labels, predicted, NAMES, 50)

    explanations = explain(chosen, images, labels, probabilities, NAMES, maps_of)

    assert sorted(chosen.values()) == list(range(70))
    assert [explanation.name for explanation in explanations] == list(chosen)
    for row, explanation in zip(chosen.values(), explanations, strict=True):
        targets = [predicted[row]] if predicted[row] == labels[row] else [predicted[row], labels[row]]
        assert (explanation.truth, explanation.prediction) == (NAMES[labels[row]], NAMES[predicted[row]])
        assert np.array_equal(explanation.image, images[row])
        for panel, target in zip(explanation.panels, targets, strict=True):
            assert panel.explained == NAMES[target]
            assert panel.probability == probabilities[row, target]
            assert panel.maximum == max(row, target)
            assert panel.heat.shape == (8, 8)
            assert panel.heat.max() == pytest.approx(1 if panel.maximum else 0, abs=1e-6)


def test_the_sample_stays_when_images_are_added():
    paths = [f"{number}.png" for number in range(50)]
    assert set(fixed_sample(paths, 8)) < set(fixed_sample(paths, 12))
    assert {row for row in fixed_sample(paths, 12) if row < 40} <= set(fixed_sample(paths[:40], 12))
    assert fixed_sample(paths, 100).tolist() == list(range(50))


def test_summary_counts_correct_and_wrong_apart():
    maps = np.zeros((4, 2, 2), np.float32)
    maps[:, 0, 1] = 4, 2, 0, 3
    assert maps_summary(maps, np.array([True, True, True, False])) == {
        "correct": {"images": 3, "flat_maps": 1, "mean_maximum": 2.0},
        "wrong": {"images": 1, "flat_maps": 0, "mean_maximum": 3.0},
    }
    assert maps_summary(maps, np.ones(4, bool))["wrong"] == {"images": 0, "flat_maps": 0, "mean_maximum": None}
