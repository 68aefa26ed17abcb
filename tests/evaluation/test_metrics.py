import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics as oracle

from brain_tumor.data.catalog import CLASSES
from brain_tumor.evaluation.metrics import (
    BY_CLASS,
    OVERALL,
    class_scores,
    classification_table,
    classification_text,
    confusion,
    overall_scores,
)

COUNT = len(CLASSES)


def overall(probabilities, labels, weights=None):
    return dict(zip(OVERALL, overall_scores(probabilities, labels, weights)[0], strict=True))


def by_class(probabilities, labels, weights=None):
    return dict(zip(BY_CLASS, class_scores(probabilities, labels, weights)[0].T, strict=True))


def certain(predictions):
    """Probabilities that name these classes."""
    return np.eye(COUNT)[np.asarray(predictions)] * 0.9 + 0.1 / COUNT


def as_table(probabilities, labels):
    return classification_table(probabilities, labels, CLASSES)


@st.composite
def cases(draw):
    """Images with weights: few distinct probabilities, so that ties are common; classes may be absent."""
    images = draw(st.integers(1, 30))
    raw = draw(arrays.arrays(np.int64, (images, COUNT), elements=st.integers(0, 3)))
    raw[raw.sum(axis=1) == 0] = 1
    labels = draw(arrays.arrays(np.int64, images, elements=st.integers(0, COUNT - 1)))
    weights = draw(arrays.arrays(np.int64, images, elements=st.integers(0, 3)))
    weights[draw(st.integers(0, images - 1))] += 1
    return raw / raw.sum(axis=1, keepdims=True), labels, weights


def same(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_overall_scores_agree_with_scikit_learn(case):
    probabilities, labels, weights = case
    predicted = probabilities.argmax(axis=1)
    scores = overall(probabilities, labels, weights[None])
    counts = oracle.confusion_matrix(labels, predicted, labels=range(COUNT), sample_weight=weights)
    defined = [index for index in range(COUNT) if counts[index].sum() + counts[:, index].sum()]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(scores["accuracy"], oracle.accuracy_score(labels, predicted, sample_weight=weights))
        same(scores["balanced_accuracy"], oracle.balanced_accuracy_score(labels, predicted, sample_weight=weights))
        f1 = oracle.f1_score(labels, predicted, labels=defined, average="macro", sample_weight=weights, zero_division=0)
        same(scores["macro_f1"], f1)
        loss = oracle.log_loss(labels, probabilities, labels=range(COUNT), sample_weight=weights)
        same(scores["log_loss"], loss)
        brier = oracle.brier_score_loss(
            labels, probabilities, labels=range(COUNT), sample_weight=weights, scale_by_half=False
        )
        same(scores["brier"], brier)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_class_scores_agree_with_scikit_learn(case):
    probabilities, labels, weights = case
    predicted = probabilities.argmax(axis=1)
    scores = by_class(probabilities, labels, weights[None])
    aurocs = []
    for index in range(COUNT):
        truth, found = labels == index, predicted == index
        present, absent = weights[truth].sum(), weights[~truth].sum()
        ratios = {
            "sensitivity": (oracle.recall_score, truth, found),
            "specificity": (oracle.recall_score, ~truth, ~found),
            "precision": (oracle.precision_score, truth, found),
            "f1": (oracle.f1_score, truth, found),
        }
        for name, (function, *pair) in ratios.items():
            same(scores[name][index], function(*pair, sample_weight=weights, zero_division=np.nan))
        if present and absent:
            auroc = oracle.roc_auc_score(truth, probabilities[:, index], sample_weight=weights)
            same(scores["auroc"][index], auroc)
            aurocs.append(auroc)
        else:
            assert np.isnan(scores["auroc"][index])
        if present:
            precision = oracle.average_precision_score(truth, probabilities[:, index], sample_weight=weights)
            same(scores["average_precision"][index], precision)
        else:
            assert np.isnan(scores["average_precision"][index])
    macro = overall(probabilities, labels, weights[None])["auroc"]
    same(macro, np.mean(aurocs) if aurocs else np.nan)


@given(cases())
def test_weight_is_how_often_an_image_is_there(case):
    probabilities, labels, weights = case
    repeated = np.repeat(probabilities, weights, axis=0), np.repeat(labels, weights)
    for function in (overall_scores, class_scores):
        same(function(probabilities, labels, weights[None])[0], function(*repeated)[0])
        several = function(probabilities, labels, np.stack([weights, np.ones_like(weights)]))
        same(several[0], function(probabilities, labels, weights[None])[0])
        same(several[1], function(probabilities, labels)[0])


@given(cases(), st.permutations(range(COUNT)))
def test_renaming_classes_only_renames_scores(case, order):
    probabilities, labels, _ = case
    # A tie goes to the first class, so only a case without ties of the largest probability may be renamed.
    probabilities = (probabilities + np.linspace(0, 1e-3, COUNT)) / (1 + np.linspace(0, 1e-3, COUNT).sum())
    renamed = probabilities[:, order], np.argsort(order)[labels]
    same(class_scores(*renamed)[0], class_scores(probabilities, labels)[0][list(order)])
    same(overall_scores(*renamed), overall_scores(probabilities, labels))


@pytest.mark.parametrize("labels", [np.arange(COUNT), np.zeros(7, int), np.array([3])])
def test_all_correct_and_all_wrong(labels):
    correct, wrong = overall(certain(labels), labels), overall(certain((labels + 1) % COUNT), labels)
    for score in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert (correct[score], wrong[score]) == (1, 0)
    assert correct["log_loss"] == pytest.approx(-np.log(0.925))
    assert wrong["log_loss"] == pytest.approx(-np.log(0.025))
    assert correct["brier"] == pytest.approx(0.075**2 + 3 * 0.025**2)


def test_log_loss_of_what_was_ruled_out_is_finite():
    assert overall(np.eye(COUNT)[[0]], np.array([1]))["log_loss"] == pytest.approx(
        oracle.log_loss([1], np.eye(COUNT)[[0]], labels=range(COUNT))
    )


def test_input_is_not_changed_and_ties_go_to_the_first_class():
    probabilities, labels = np.full((2, COUNT), 0.25), np.array([0, 1])
    before = probabilities.copy(), labels.copy()
    overall_scores(probabilities, labels)
    class_scores(probabilities, labels)
    assert confusion(probabilities, labels)[:, 0].tolist() == [1, 1, 0, 0]
    np.testing.assert_array_equal(probabilities, before[0])
    np.testing.assert_array_equal(labels, before[1])


def test_confusion_has_truth_in_rows():
    counts = confusion(certain([1, 1, 3]), [0, 0, 3])
    expected = np.zeros((COUNT, COUNT))
    expected[0, 1], expected[3, 3] = 2, 1
    np.testing.assert_array_equal(counts, expected)


def test_text_names_every_class_and_tells_the_undefined():
    text = classification_text(certain([0, 0, 1]), [0, 1, 1], CLASSES)
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert lines["glioma"] == ["0.5000", "1.0000", "0.6667", "1"]
    assert lines["pituitary"] == ["nan", "nan", "nan", "0"]
    assert lines["accuracy"] == ["0.6667", "3"]


def test_report_as_a_table_agrees_with_scikit_learn(rng):
    labels, predicted = rng.integers(0, 3, (2, 50))
    table = classification_table(certain(predicted), labels, CLASSES).set_index("class")
    assert table.index.tolist() == [*CLASSES, "macro avg", "weighted avg"]
    for rows, average in ((CLASSES, None), (["macro avg"], "macro"), (["weighted avg"], "weighted")):
        expected = oracle.precision_recall_fscore_support(
            labels, predicted, labels=range(COUNT), average=average, zero_division=np.nan
        )
        same(table.loc[list(rows), ["precision", "recall", "f1"]].to_numpy().T.squeeze(), expected[:3])
    assert table["images"].tolist() == [*np.bincount(labels, minlength=COUNT), 50, 50]


@pytest.mark.parametrize(
    ("probabilities", "labels"),
    [
        (certain([0, 1]), [0]),
        (certain([0]) * 2, [0]),
        (np.full((1, COUNT), np.nan), [0]),
        (np.array([[2.0, -1, 0, 0]]), [0]),
    ],
)
@pytest.mark.parametrize("function", [overall_scores, class_scores, confusion, as_table])
def test_refuses_what_cannot_be_scored(function, probabilities, labels):
    with pytest.raises(ValueError, match=r"expected|must be"):
        function(probabilities, labels)


@pytest.mark.parametrize("weights", [np.ones(2), np.ones((1, 3)), -np.ones((1, 2))])
def test_refuses_weights_of_other_images(weights):
    with pytest.raises(ValueError, match="weights"):
        overall_scores(certain([0, 1]), [0, 1], weights)
