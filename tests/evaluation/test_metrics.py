import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_stat_scores

from brain_tumor.data.catalog import CLASSES
from brain_tumor.evaluation.metrics import accuracy_by, classification_text, confusion, evaluate

COUNT = len(CLASSES)


def certain(predictions):
    """Probabilities that name these classes."""
    return np.eye(COUNT)[np.asarray(predictions)] * 0.9 + 0.1 / COUNT


pairs = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), min_size=1, max_size=40)


def test_scores_by_hand():
    #        truth: 5 glioma (3 right), 3 meningioma (2 right), 2 notumor (0 right), no pituitary
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    predictions = [0, 0, 0, 1, 1, 1, 1, 0, 1, 1]

    scores = evaluate(certain(predictions), labels, CLASSES)

    assert (scores["images"], scores["correct"]) == (10, 5)
    assert scores["accuracy"] == 0.5
    assert scores["per_class"]["glioma"] == pytest.approx(
        {"precision": 3 / 4, "recall": 3 / 5, "f1": 2 / 3, "correct": 3, "predicted": 4, "support": 5}
    )
    assert scores["per_class"]["meningioma"] == pytest.approx(
        {"precision": 2 / 6, "recall": 2 / 3, "f1": 4 / 9, "correct": 2, "predicted": 6, "support": 3}
    )
    # Never called notumor: precision has no denominator, but F1 has one and is 0.
    assert scores["per_class"]["notumor"] == {
        "precision": None, "recall": 0, "f1": 0, "correct": 0, "predicted": 0, "support": 2,
    }  # fmt: skip
    assert scores["per_class"]["pituitary"] == {
        "precision": None, "recall": None, "f1": None, "correct": 0, "predicted": 0, "support": 0,
    }  # fmt: skip
    assert scores["balanced_accuracy"] == pytest.approx((3 / 5 + 2 / 3 + 0) / 3)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 4 / 9 + 0) / 3)


@given(pairs)
def test_scores_agree_with_torchmetrics(cases):
    labels, predictions = np.array(cases).T
    probabilities = certain(predictions)

    scores = evaluate(probabilities, labels, CLASSES)
    counts = confusion(probabilities, labels, CLASSES)

    oracle = multiclass_stat_scores(torch.tensor(predictions), torch.tensor(labels), COUNT, average=None).numpy()
    for (right, false, _, missed, support), score in zip(oracle, scores["per_class"].values(), strict=True):
        assert (score["correct"], score["predicted"], score["support"]) == (right, right + false, support)
        for name, top, bottom in (
            ("precision", right, right + false),
            ("recall", right, support),
            ("f1", 2 * right, 2 * right + false + missed),
        ):
            assert score[name] == (pytest.approx(top / bottom) if bottom else None)
    np.testing.assert_array_equal(
        counts, multiclass_confusion_matrix(torch.tensor(predictions), torch.tensor(labels), COUNT)
    )
    assert scores["accuracy"] == pytest.approx(np.trace(counts) / counts.sum())
    assert sum(score["support"] for score in scores["per_class"].values()) == scores["images"] == len(cases)
    json.dumps(scores, allow_nan=False)


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@given(pairs)
def test_balanced_accuracy_agrees_with_its_own_function(cases):
    labels, predictions = np.array(cases).T
    expected = balanced_accuracy_score(labels, predictions)
    assert evaluate(certain(predictions), labels, CLASSES)["balanced_accuracy"] == pytest.approx(expected)


@given(pairs, st.permutations(range(COUNT)))
def test_renaming_classes_only_renames_scores(cases, order):
    labels, predictions = np.array(cases).T
    new_of = np.argsort(order)  # class `order[i]` moves to place i
    scores = evaluate(certain(predictions), labels, CLASSES)
    renamed = evaluate(certain(new_of[predictions]), new_of[labels], [CLASSES[old] for old in order])
    assert renamed["per_class"] == scores["per_class"]
    assert renamed["macro_f1"] == pytest.approx(scores["macro_f1"])


@pytest.mark.parametrize("labels", [np.arange(COUNT), np.zeros(7, int), np.array([3])])
def test_all_right_and_all_wrong(labels):
    right = evaluate(certain(labels), labels, CLASSES)
    wrong = evaluate(certain((labels + 1) % COUNT), labels, CLASSES)
    for score in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert (right[score], wrong[score]) == (1, 0)


def test_input_is_not_changed_and_ties_go_to_the_first_class():
    probabilities, labels = np.full((2, COUNT), 0.25), np.array([0, 1])
    copies = probabilities.copy(), labels.copy()
    assert evaluate(probabilities, labels, CLASSES)["per_class"]["glioma"]["predicted"] == 2
    np.testing.assert_array_equal(probabilities, copies[0])
    np.testing.assert_array_equal(labels, copies[1])


def test_confusion_has_truth_in_rows():
    counts = confusion(certain([1, 1, 3]), [0, 0, 3], CLASSES)
    expected = np.zeros((COUNT, COUNT))
    expected[0, 1], expected[3, 3] = 2, 1
    np.testing.assert_array_equal(counts, expected)


def test_text_names_every_class_and_tells_the_undefined():
    text = classification_text(certain([0, 0, 1]), [0, 1, 1], CLASSES)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert lines["glioma"] == ["0.5000", "1.0000", "0.6667", "1"]
    assert lines["pituitary"] == ["nan", "nan", "nan", "0"]
    assert lines["accuracy"] == ["0.6667", "3"]


def test_accuracy_by_parts():
    labels = np.array([0, 1, 2, 3, 0])
    probabilities = certain([0, 1, 0, 0, 0])
    copied = np.array([True, True, True, False, False])
    parts = accuracy_by(probabilities, labels, {"with_copy": copied, "without_copy": ~copied, "none": copied & ~copied})
    assert parts == {
        "with_copy": {"images": 3, "correct": 2, "accuracy": 2 / 3},
        "without_copy": {"images": 2, "correct": 1, "accuracy": 1 / 2},
        "none": {"images": 0, "correct": 0, "accuracy": None},
    }
    assert parts["with_copy"]["correct"] + parts["without_copy"]["correct"] == 3


@pytest.mark.parametrize("mask", [np.ones(4, bool), np.ones(5, int), np.ones((5, 1), bool)])
def test_accuracy_by_refuses_what_is_no_mask(mask):
    with pytest.raises(ValueError, match="mask part"):
        accuracy_by(certain([0] * 5), [0] * 5, {"part": mask})


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (np.empty((0, COUNT)), np.empty(0, int)),
        (certain([0, 1]), [0]),
        (certain([0])[:, :3], [0]),
        (certain([0]), [COUNT]),
        (certain([0]), [-1]),
        (certain([0]), [0.5]),
        (certain([0]) * 2, [0]),
        (np.full((1, COUNT), np.nan), [0]),
        (np.array([[2.0, -1, 0, 0]]), [0]),
    ],
)
def test_refuses_what_cannot_be_scored(probabilities, labels):
    with pytest.raises(ValueError, match=r"expected|must be"):
        evaluate(probabilities, labels, CLASSES)


def test_nothing_here_imports_torch():
    code = "import sys, brain_tumor.evaluation.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
