import json

import numpy as np
import pandas as pd
import pytest
from evaluation.toy import split_arrays
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from brain_tumor.data.arrays import Arrays
from brain_tumor.data.catalog import CLASSES
from brain_tumor.data.images import Reader
from brain_tumor.evaluation.external import external_table
from brain_tumor.evaluation.study import Study, headline, mistakes, score_tables, study
from brain_tumor.evaluation.tables import Predictions, subset_table
from brain_tumor.figures import scores, sheets

SETS = {"0.9": [0.5] * 4, "0.95": [1.0] * 4}


def evaluated(rng, folder, test_classes, sure=8.0):
    """The study of a network that takes the first pixel for the class, on images whose first pixel says it."""

    def images_of(name, classes):
        images = rng.integers(0, 200, (len(classes), 32, 32), dtype=np.uint8)
        images[:, 0, 0] = [CLASSES.index(label) for label in classes]
        paths = [f"{name}/{row}.png" for row in range(len(classes))]
        (folder / name).mkdir()
        for path, image in zip(paths, images, strict=True):
            Image.fromarray(image).save(folder / path)
        return split_arrays(images, paths, list(classes))

    train, test = images_of("Training", CLASSES * 6), images_of("Testing", test_classes)
    split = pd.concat([train.index, test.index]).assign(patient="")
    split["folder"] = split["path"].str.split("/").str[0]
    arrays = Arrays(train, test, test, None, Reader(size=32), "0")
    result = study(lambda images: np.eye(4)[images[:, 0, 0]] * sure, 2.0, SETS, 0.5, arrays, split, folder, (), {}, 1)
    return result, test.images


@pytest.mark.parametrize("classes", [CLASSES * 3, ["glioma", "meningioma"] * 4, ["notumor"] * 4, ["pituitary"]])
def test_a_study_that_has_nothing_to_show_says_so(rng, tmp_path, classes):
    """No mistake, no duplicate, no annotation, no external image, classes without test images, an image alone."""
    result, images = evaluated(rng, tmp_path, classes)

    values = headline(result)
    assert (values["accuracy"], values["accuracy_with_duplicate"], values["accuracy_without_duplicate"]) == (1, None, 1)
    recalls = {name: ratios["recall"] for name, ratios in values["classes"].items()}
    assert recalls == {name: 1 if name in classes else None for name in CLASSES}
    assert result.tables["predictions"]["path"].is_unique
    for name in ("external", "lesion_removed"):
        assert len(result.tables[name].columns) > 3
        assert result.tables[name].empty
    assert scores.confusion_matrix(result.tables["confusion"])
    assert scores.ranking_curves(result.tables["roc"], result.tables["precision_recall"])
    assert scores.reliability_diagram(result.tables["reliability"], result.calibration_errors)
    assert scores.risk_coverage_curve(result.tables["risk_coverage"], result.answered)
    assert scores.accuracy_by_subset(result.tables["scores_by_subset"])
    assert mistakes(result.predictions, images) == ([], [])
    assert sheets.mistakes_sheet([], [])


def test_confidence_lists_calibration_sets_and_what_can_be_answered(rng, tmp_path):
    result, _ = evaluated(rng, tmp_path, CLASSES * 3, sure=4.0)
    confidence = {before: np.exp(4 / t) / (np.exp(4 / t) + 3) for before, t in ((True, 1), (False, 2))}
    values = result.tables["confidence"].set_index("score")["value"].to_dict()
    assert values["calibration_error"] == pytest.approx(1 - confidence[False])
    assert values["calibration_error_before"] == pytest.approx(1 - confidence[True])
    assert values["temperature"] == 2
    assert (values["set_coverage_95"], values["set_size_95"], values["set_size_90"]) == (1, 4, 1)
    assert (values["answered_at_1pc"], values["answered_at_2pc"]) == tuple(result.answered.values()) == (1, 1)


def test_the_headline_has_what_people_expect_of_metrics(rng):
    labels = rng.integers(0, 4, 60)
    probabilities = rng.dirichlet(np.ones(4), 60) * 0.8 + np.eye(4)[labels] * 0.2
    predictions = Predictions(probabilities, labels, CLASSES, np.arange(60).astype(str), 3)
    tables = score_tables(predictions, list("p" * 60), {}) | {
        "scores_by_subset": subset_table(predictions, {"with a published duplicate": labels < 2}),
        "external": external_table(
            Predictions(np.eye(4)[[0, 2]], np.array([4, 4]), CLASSES, np.array(["a", "b"]), 3), ["br35h"] * 2
        ),
    }

    values = headline(Study(predictions, tables, {"before": 0.3, "after": 0.125}, {}))

    assert tables["prediction_sets"].empty

    assert list(values) == [
        *("accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "macro_f1", "auroc", "calibration_error"),
        *("accuracy_with_duplicate", "accuracy_without_duplicate", "external", "classes"),
    ]
    predicted = predictions.predicted
    assert values["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert values["accuracy_low"] < values["accuracy"] < values["accuracy_high"]
    assert values["accuracy_with_duplicate"] == pytest.approx((predicted == labels)[labels < 2].mean())
    assert values["accuracy_without_duplicate"] is None
    assert values["external"] == {"br35h": {"auroc": None, "sensitivity": 0.5, "specificity": None}}
    assert values["calibration_error"] == 0.125
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = dict(zip(CLASSES, score(labels, predicted, average=None), strict=True))
        assert {label: row[name] for label, row in values["classes"].items()} == pytest.approx(expected)
    json.dumps(values, allow_nan=False)


def test_mistakes_are_captioned_with_truth_and_prediction():
    probabilities = np.array([[0.1, 0.8, 0.05, 0.05], [0.9, 0.1, 0, 0]])
    images = np.stack([np.full((8, 8), grey, np.uint8) for grey in (1, 2)])
    shown, captions = mistakes(Predictions(probabilities, np.zeros(2, int), CLASSES, np.array(["a", "b"]), 1), images)
    assert captions == ["true: glioma\npredicted: meningioma\np = 0.800"]
    np.testing.assert_array_equal(shown, images[:1])
