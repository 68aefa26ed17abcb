import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX
from brain_tumor.evaluation.metrics import BY_CLASS, OVERALL, class_scores, overall_scores
from brain_tumor.evaluation.tables import (
    Predictions,
    binary_table,
    class_table,
    confusion_table,
    overall_table,
    prediction_table,
    share,
    subset_table,
    subsets_of,
    surest_mistakes,
)


@pytest.fixture
def predictions(rng):
    labels = np.repeat(np.arange(4), 30)
    probabilities = rng.dirichlet(np.ones(4), 120) * 0.5 + np.eye(4)[labels] * 0.5 * (rng.random((120, 1)) < 0.6)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Predictions(probabilities, labels, CLASSES, np.repeat(np.arange(40), 3).astype(str), 7)


@pytest.fixture
def few():
    labels = np.array([0, 0, 1, 2, 3, 3])
    sure = np.array([0.9, 0.6, 0.8, 0.7, 0.95, 0.99])
    predicted = np.array([0, 1, 2, 2, 1, 1])  # correct, wrong, wrong, correct, wrong, wrong
    probabilities = np.eye(4)[predicted] * (sure - (1 - sure) / 3)[:, None] + ((1 - sure) / 3)[:, None]
    return Predictions(probabilities, labels, CLASSES, np.array(list("abcdee")), 3)


def test_every_score_stands_with_its_name_inside_its_interval(predictions):
    values = predictions.probabilities, predictions.labels
    overall = overall_table(predictions).set_index("score")
    assert overall.index.tolist() == list(OVERALL)
    np.testing.assert_allclose(overall["value"], overall_scores(*values)[0])
    assert (overall["low"] < overall["value"]).all()
    assert (overall["value"] < overall["high"]).all()
    table = class_table(predictions).set_index(["class", "score"])
    for index, name in enumerate(CLASSES):
        for number, score in enumerate(BY_CLASS):
            row = table.loc[(name, score)]
            assert row["value"] == pytest.approx(class_scores(*values)[0, index, number])
            assert row["low"] <= row["value"] <= row["high"]
            assert (row["images"], row["groups"]) == (30, 10)


def test_subsets_by_hand(predictions):
    first = np.arange(120) < 45
    table = subset_table(predictions, {"first": first, "rest": ~first, "none": first & ~first}).set_index("subset")
    assert table.loc["first", ["images", "groups"]].tolist() == [45, 15]
    assert table.loc["first", "correct"] == predictions.correct[:45].sum()
    assert table.loc["first", "accuracy"] == pytest.approx(predictions.correct[:45].mean())
    assert table["correct"].sum() == predictions.correct.sum()
    assert table["predicted_healthy"].sum() == (predictions.predicted == HEALTHY_INDEX).sum()
    assert table.loc["none", "images"] == 0
    assert np.isnan(table.loc["none", "accuracy"])


def test_subsets_tell_duplicates_and_sources(few):
    split = pd.DataFrame(
        {
            "path": ["t0", "t1", "t2", "x3", "t4", "t5", "train"],
            "folder": ["Testing"] * 3 + ["Training"] + ["Testing"] * 2 + ["Training"],
            "group": ["a", "b", "c", "d", "e", "e", "b"],
        }
    )
    paths = split["path"][:6]
    rows = {name: np.flatnonzero(mask).tolist() for name, mask in subsets_of(paths, few, split, {"t0", "t4"}).items()}
    assert rows == {
        "all": [0, 1, 2, 3, 4, 5],
        "with a published duplicate": [1],
        "without a published duplicate": [0, 2, 4, 5],  # x3 was published for training
        "glioma, annotated": [0],
        "glioma, other": [1],
        "meningioma, other": [2],
        "notumor, other": [3],
        "pituitary, annotated": [4],
        "pituitary, other": [5],
    }
    assert list(subsets_of(paths, few, split, set())) == list(rows)[:3]


def test_predictions_stand_with_their_paths(few):
    table = prediction_table(few, list("uvwxyz")).set_index("path")
    assert table.loc["v", ["actual", "predicted"]].tolist() == ["glioma", "meningioma"]
    np.testing.assert_allclose(table[list(CLASSES)], few.probabilities, atol=1e-6)


def test_confusion_counts_and_shares(few):
    table = confusion_table(few.subset(few.labels != 1)).set_index(["actual", "predicted"])
    assert table.loc[("pituitary", "meningioma")].tolist() == [2, 1]
    assert table.loc[("glioma", "glioma")].tolist() == [1, 0.5]
    assert table["images"].sum() == 5
    assert table.loc["meningioma", "share"].isna().all()


def test_surest_mistakes_one_of_a_group(few):
    assert surest_mistakes(few, 10).tolist() == [5, 2, 1]  # 4 is of the group of 5
    assert surest_mistakes(few, 1).tolist() == [5]
    assert surest_mistakes(few.subset(few.correct), 10).tolist() == []


def test_share_without_spread_has_no_width(predictions):
    assert share(np.ones(120, bool), predictions) == (1, 1, 1)


def test_guesses_of_two_classes(predictions):
    truth = predictions.labels != HEALTHY_INDEX
    sure = np.eye(2)[truth.astype(int)]
    table = binary_table({"sure": sure, "even": np.full((120, 2), 0.5)}, truth, predictions).set_index("features")
    assert table.loc["sure"].tolist() == [120, 40, *[1] * 6]
    assert table.loc["even", ["auroc", "balanced_accuracy"]].tolist() == [0.5, 0.5]
