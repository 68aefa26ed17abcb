import numpy as np
import pytest

from brain_tumor.data.catalog import CLASSES
from brain_tumor.evaluation.metrics import BY_CLASS, OVERALL, class_scores, overall_scores
from brain_tumor.evaluation.tables import (
    Predictions,
    binary_table,
    class_table,
    external_table,
    lesion_removal_rows,
    overall_table,
    share,
    subset_table,
)

HEALTHY = CLASSES.index("notumor")


@pytest.fixture
def predictions(rng):
    labels = np.repeat(np.arange(4), 30)
    probabilities = rng.dirichlet(np.ones(4), 120) * 0.5 + np.eye(4)[labels] * 0.5 * (rng.random((120, 1)) < 0.6)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Predictions(probabilities, labels, CLASSES, np.repeat(np.arange(40), 3).astype(str), 7)


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


def test_parts_by_hand(predictions):
    first = np.arange(120) < 45
    table = subset_table(predictions, {"first": first, "rest": ~first, "none": first & ~first}, HEALTHY).set_index(
        "folder"
    )
    assert table.loc["first", ["images", "groups"]].tolist() == [45, 15]
    assert table.loc["first", "correct"] == predictions.correct[:45].sum()
    assert table.loc["first", "accuracy"] == pytest.approx(predictions.correct[:45].mean())
    assert table["correct"].sum() == predictions.correct.sum()
    assert table["predicted_healthy"].sum() == (predictions.probabilities.argmax(axis=1) == HEALTHY).sum()
    assert table.loc["none", "images"] == 0
    assert np.isnan(table.loc["none", "accuracy"])
    with pytest.raises(ValueError, match="part odd"):
        subset_table(predictions, {"odd": np.ones(120, int)}, HEALTHY)


def test_share_without_spread_has_no_width(predictions):
    assert share(np.ones(120, bool), predictions) == (1, 1, 1)


def test_guesses_of_two_classes(predictions):
    truth = predictions.labels != HEALTHY
    sure = np.eye(2)[truth.astype(int)]
    table = binary_table({"sure": sure, "even": np.full((120, 2), 0.5)}, truth, predictions).set_index("features")
    assert table.loc["sure"].tolist() == [120, 40, *[1] * 6]
    assert table.loc["even", ["auroc", "balanced_accuracy"]].tolist() == [0.5, 0.5]


def test_blanking_by_hand():
    labels = np.array([0, 0, 1, 3])
    before = Predictions(np.eye(4)[labels] * 0.8 + 0.05, labels, CLASSES, np.array(list("aabc")), 1)
    after = np.eye(4)[[0, 2, 2, 1]] * 0.8 + 0.05
    table = lesion_removal_rows("tumour", before, after, HEALTHY).set_index("class")
    assert table.index.tolist() == ["glioma", "meningioma", "pituitary", "all"]
    assert table["kept"].tolist() == [0.5, 0, 0, 0.25]
    assert table["healthy"].tolist() == [0.5, 1, 0, 0.5]
    assert table["drop"].tolist() == pytest.approx([0.4, 0.8, 0.8, 0.6])
    assert table["groups"].tolist() == [1, 1, 1, 3]


def test_new_sources_count_tumours_of_any_type_and_healthy_heads():
    probabilities = np.eye(4)[[0, 1, 3, 2, 2, 2, 2, 0]]
    classes = np.array(["tumor"] * 5 + ["notumor"] * 3)
    groups = np.array(list("aabcdefg"))

    table = external_table(probabilities, classes, groups, healthy=2, seed=1).set_index("class")

    assert table["correct"].to_dict() == pytest.approx({"tumor": 3 / 5, "notumor": 2 / 3})
    assert table["groups"].to_dict() == {"tumor": 4, "notumor": 3}
    assert (table["low"] <= table["correct"]).all()
    assert (table["high"] >= table["correct"]).all()
