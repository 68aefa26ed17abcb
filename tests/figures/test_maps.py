import matplotlib
import numpy as np
import pytest

from brain_tumor.data.catalog import CLASSES
from brain_tumor.explanation.sample import Explanation, Panel
from brain_tumor.figures import maps


def explanation(rng, truth, prediction):
    image = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    heat = rng.random((32, 32), dtype=np.float32)
    panels = [Panel(prediction, 0.75, heat / heat.max(), 0.4)]
    if truth != prediction:
        panels.append(Panel(truth, 0.2, np.zeros_like(heat), 0.0))
    return Explanation(f"{truth}.png", image, truth, tuple(panels))


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_blend_leaves_cold_places_grey_and_colours_hot_ones(rng):
    image = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[2, 3] = 1
    mixed = maps.blend(image, heat)
    cold = heat == 0
    np.testing.assert_array_equal(mixed[cold], np.repeat(image[cold][:, None], 3, axis=1))
    assert mixed[2, 3, 0] > mixed[2, 3, 2] + 50  # yellow


def test_gradcam_picture_says_truth_prediction_and_probability(rng):
    wrong = texts(maps.gradcam_picture(explanation(rng, "glioma", "notumor")))
    assert "truth: glioma" in wrong
    assert "✗  predicted: notumor, p = 0.750" in wrong
    assert "for notumor, p = 0.750" in wrong
    assert "for glioma, p = 0.200" in wrong
    assert "nothing speaks for it" in wrong
    correct = maps.gradcam_picture(explanation(rng, "glioma", "glioma"))
    assert "✓  predicted: glioma, p = 0.750" in texts(correct)
    assert len(correct.axes) == 2


@pytest.mark.parametrize(
    ("cases", "drawn"),
    [
        ("glioma-glioma glioma-notumor glioma-notumor pituitary-pituitary", ["111", "000", "000", "100"]),
        ("notumor-notumor", ["00", "00", "10", "00"]),
        ("notumor-glioma", ["00", "00", "01", "00"]),
        ("", ["00", "00", "00", "00"]),
    ],
)
def test_overview_has_every_explanation_once_in_the_row_of_its_class(rng, cases, drawn):
    explanations = [explanation(rng, *case.split("-")) for case in cases.split()]
    figure = maps.gradcam_overview(explanations, CLASSES)
    grid = np.array(figure.axes).reshape(4, -1)
    assert ["".join(str(len(axes.images)) for axes in line) for line in grid] == drawn
    for word, correct in (("correct", True), ("wrong", False)):
        there = {item.truth for item in explanations if item.correct == correct}
        assert texts(figure).count(f"none {word}") == 4 - len(there)


def test_overview_refuses_a_class_that_has_no_row(rng):
    with pytest.raises(ValueError, match="among glioma, notumor"):
        maps.gradcam_overview([explanation(rng, "pituitary", "glioma")], ["glioma", "notumor"])
