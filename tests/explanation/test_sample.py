import numpy as np
import pytest

from brain_tumor.explanation.heat import Maps
from brain_tumor.explanation.sample import BATCH, choose, explain, explain_all, fixed_sample, maps_summary

CLASSES = ("a", "b")


@pytest.fixture
def chosen(rng):
    """70 images, every third one predicted wrong, and maps that tell row and class."""
    labels = np.arange(70) % 2
    predictions = np.where(np.arange(70) % 3 == 0, 1 - labels, labels)
    probabilities = np.where(np.eye(2)[predictions] > 0, 0.9, 0.1)
    images = rng.integers(0, 256, (70, 8, 8), dtype=np.uint8)
    choices = choose([f"{row}.png" for row in range(70)], labels, predictions, CLASSES, 50)
    return choices, images, probabilities


def maps_of(rows, targets):
    values = np.zeros((len(rows), 2, 2), np.float32)
    values[:, 0, 0] = rows
    values[:, 1, 1] = targets
    return Maps(values)


def test_every_choice_gets_the_maps_of_its_own_row_and_classes(chosen):
    choices, images, probabilities = chosen

    explanations = explain(choices, images, probabilities, CLASSES, maps_of)

    assert sum(len(choice.targets) for choice in choices) > 2 * BATCH
    assert [explanation.name for explanation in explanations] == [choice.name for choice in choices]
    for choice, explanation in zip(choices, explanations, strict=True):
        assert explanation.truth == CLASSES[choice.truth]
        assert np.array_equal(explanation.image, images[choice.row])
        assert [panel.explained for panel in explanation.panels] == [CLASSES[target] for target in choice.targets]
        for panel, target in zip(explanation.panels, choice.targets, strict=True):
            assert panel.probability == probabilities[choice.row, target]
            assert panel.maximum == max(choice.row, target)
            assert panel.heat.shape == (8, 8)
            assert panel.heat.max() == pytest.approx(1 if panel.maximum else 0, abs=1e-6)


def test_every_image_is_explained_once_and_in_order():
    targets = np.arange(2 * BATCH + 3) % 2
    maps = explain_all(targets, maps_of)
    np.testing.assert_array_equal(maps[:, 0, 0], np.arange(len(targets)))
    np.testing.assert_array_equal(maps[:, 1, 1], targets)


def test_the_sample_stays_when_images_are_added_or_reordered():
    paths = [f"{number}.png" for number in range(50)]
    names = {paths[row] for row in fixed_sample(paths, 8)}
    assert len(names) == 8
    assert names == {paths[::-1][row] for row in fixed_sample(paths[::-1], 8)}
    assert {paths[row] for row in fixed_sample(paths, 12)} > names
    assert fixed_sample(paths, 100).tolist() == list(range(50))


def test_summary_counts_right_and_wrong_apart():
    maps = np.zeros((4, 2, 2), np.float32)
    maps[:, 0, 1] = 4, 2, 0, 3
    assert maps_summary(maps, np.array([True, True, True, False])) == {
        "right": {"images": 3, "flat_maps": 1, "mean_maximum": 2.0},
        "wrong": {"images": 1, "flat_maps": 0, "mean_maximum": 3.0},
    }
    assert maps_summary(maps, np.ones(4, bool))["wrong"] == {"images": 0, "flat_maps": 0, "mean_maximum": None}
