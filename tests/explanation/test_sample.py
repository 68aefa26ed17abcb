import numpy as np
import pytest

from brain_tumor.explanation.gradcam import Maps
from brain_tumor.explanation.overlays import choose
from brain_tumor.explanation.sample import BATCH, explain, summary

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


def test_summary_counts_right_and_wrong_apart(chosen):
    choices, images, probabilities = chosen

    result = summary(explain(choices, images, probabilities, CLASSES, maps_of))

    wrong = [choice for choice in choices if not choice.right]
    assert result["images"] == 70
    assert result["wrong"]["images"] == len(wrong) == 24
    assert result["wrong"]["mean_maximum"] == pytest.approx(np.mean([max(c.row, c.prediction) for c in wrong]))
    assert result["right"]["flat_maps"] == 0


def test_summary_without_wrong_predictions_is_undefined_there(chosen):
    choices, images, probabilities = chosen
    right = [choice for choice in choices if choice.right]

    assert summary(explain(right, images, probabilities, CLASSES, maps_of))["wrong"] == {
        "images": 0,
        "flat_maps": 0,
        "mean_maximum": None,
    }
