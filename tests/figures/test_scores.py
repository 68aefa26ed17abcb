import matplotlib
import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES
from brain_tumor.evaluation.curves import precision_recall_curves, roc_curves
from brain_tumor.figures import scores, sheets


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_ranking_curves_draw_every_class_in_both_panels(rng):
    values = rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60), CLASSES
    roc, precision_recall = roc_curves(*values), precision_recall_curves(*values)
    left, right = scores.ranking_curves(roc, precision_recall, CLASSES).axes
    for index, name in enumerate(CLASSES):
        np.testing.assert_array_equal(left.lines[index].get_ydata(), roc[name])
        np.testing.assert_array_equal(right.lines[index].get_ydata(), precision_recall[name])


def test_reliability_names_both_errors():
    bins = pd.DataFrame({"confidence": [0.6, 0.9] * 2, "accuracy": [0.5, 0.8, 0.6, 0.9], "images": 5})
    bins["calibration"] = ["before", "before", "after", "after"]
    written = texts(scores.reliability_diagram(bins, {"before": 0.1, "after": 0.02}))
    assert "before calibration, error 0.100" in written
    assert "after calibration, error 0.020" in written
    assert "2 bins of equal size" in written


def test_risk_coverage_tells_what_can_be_answered():
    curve = pd.DataFrame({"coverage": [0.5, 1.0], "risk": [0.0, 0.2]})
    assert "at most 1% wrong: 50% answered" in texts(scores.risk_coverage_curve(curve, {0.01: 0.5}))


def test_empty_parts_are_not_drawn():
    parts = pd.DataFrame({"subset": ["all", "none"], "images": [1200, 0], "groups": [70, 0]})
    parts[["accuracy", "low", "high"]] = [[0.8, 0.7, 0.9], [np.nan] * 3]
    written = texts(scores.accuracy_by_subset(parts))
    assert "all, 1,200 (70)" in written
    assert not [text for text in written if text.startswith("none")]


def test_mistakes_stand_with_their_captions(rng):
    images = list(rng.integers(0, 256, (7, 8, 8), dtype=np.uint8))
    figure = sheets.mistakes_sheet(images, [f"caption {number}" for number in range(7)])
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in shown] == [f"caption {number}" for number in range(7)]
    np.testing.assert_array_equal(shown[3].images[0].get_array(), images[3])
    assert "no mistakes" in texts(sheets.mistakes_sheet([], []))
    with pytest.raises(ValueError, match="1 captions"):
        sheets.mistakes_sheet([], ["a"])
