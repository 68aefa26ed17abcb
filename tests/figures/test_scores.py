import matplotlib
import numpy as np
import pandas as pd

from brain_tumor.data.catalog import CLASSES
from brain_tumor.evaluation.curves import ranking_tables
from brain_tumor.evaluation.tables import Predictions, confusion_table
from brain_tumor.figures import scores

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 3],
        "train_loss": [1.0, 0.5, 0.2],
        "val_loss": [1.1, 0.6, 0.7],
        "train_accuracy": [0.5, 0.8, 0.9],
        "val_accuracy": [0.5, 0.7, 0.75],
    }
)


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_confusion_matrix_shows_counts_and_shares_of_the_row():
    counts = np.array([[8, 2, 0, 0], [1, 4, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1234]])
    labels, predicted = (np.repeat(values, counts.ravel()) for values in np.indices((4, 4)).reshape(2, 16))
    predictions = Predictions(np.eye(4)[predicted], labels, CLASSES, labels.astype(str), 0)
    figure = scores.confusion_matrix(confusion_table(predictions))
    written = texts(figure)
    cells = [text.get_text().split("\n")[0] for text in figure.axes[0].texts]
    assert cells == [f"{count:,}" for count in counts.ravel()]
    assert "8\n80.0%" in written
    assert "1\n20.0%" in written
    assert "1,234\n99.9%" in written
    assert written.count("0\n–") == 4  # no notumor image: a share of nothing is undefined
    assert "meningioma\n5" in written
    assert "1,246 of 1,250 images correct" in written


def test_curves_mark_the_epoch_of_lowest_validation_loss():
    figure = scores.training_curves(HISTORY)
    assert "lowest validation loss: epoch 2" in texts(figure)
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[1].lines}
    np.testing.assert_array_equal(drawn["train"], HISTORY["train_accuracy"])
    np.testing.assert_array_equal(drawn["validation"], HISTORY["val_accuracy"])
    assert scores.training_curves(HISTORY[:1])
    assert texts(scores.training_curves(HISTORY[:0])) == ["no epochs"]


def test_ranking_curves_draw_every_class_in_both_panels(rng):
    roc, precision_recall = ranking_tables(rng.dirichlet(np.ones(4), 60), rng.integers(0, 4, 60), CLASSES)
    left, right = scores.ranking_curves(roc, precision_recall).axes
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


def test_empty_subsets_are_not_drawn():
    subsets = pd.DataFrame({"subset": ["all", "none"], "images": [1200, 0], "groups": [70, 0]})
    subsets[["accuracy", "low", "high"]] = [[0.8, 0.7, 0.9], [np.nan] * 3]
    written = texts(scores.accuracy_by_subset(subsets))
    assert "all, 1,200 (70)" in written
    assert not [text for text in written if text.startswith("none")]
