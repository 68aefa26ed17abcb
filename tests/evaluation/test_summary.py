import json

import numpy as np
import pandas as pd
import pytest

from brain_tumor.data.catalog import CLASSES
from brain_tumor.evaluation.summary import (
    confidence_table,
    confusion_table,
    headline,
    selective_table,
    set_table,
    subsets_of,
    surest_mistakes,
)
from brain_tumor.evaluation.tables import Predictions, overall_table, subset_table


@pytest.fixture
def predictions():
    labels = np.array([0, 0, 1, 2, 3, 3])
    sure = np.array([0.9, 0.6, 0.8, 0.7, 0.95, 0.99])
    called = np.array([0, 1, 2, 2, 1, 1])  # right, wrong, wrong, right, wrong, wrong
    probabilities = np.eye(4)[called] * (sure - (1 - sure) / 3)[:, None] + ((1 - sure) / 3)[:, None]
    return Predictions(probabilities, labels, CLASSES, np.array(list("abcdee")), 3)


def test_surest_mistakes_one_of_a_group(predictions):
    assert surest_mistakes(predictions, 10).tolist() == [5, 2, 1]  # 4 is of the group of 5
    assert surest_mistakes(predictions, 1).tolist() == [5]
    right = predictions.subset(predictions.correct)
    assert surest_mistakes(right, 10).tolist() == []


def test_parts_tell_copies_and_sources(predictions):
    split = pd.DataFrame(
        {
            "path": ["t0", "t1", "t2", "x3", "t4", "t5", "train"],
            "folder": ["Testing"] * 3 + ["Training"] + ["Testing"] * 2 + ["Training"],
            "group": ["a", "b", "c", "d", "e", "e", "b"],
        }
    )
    paths = split["path"][:6]
    parts = subsets_of(paths, predictions, split, {"t0", "t4"})
    rows = {name: np.flatnonzero(mask).tolist() for name, mask in parts.items()}
    assert rows == {
        "all": [0, 1, 2, 3, 4, 5],
        "with a published copy": [1],
        "without a published copy": [0, 2, 4, 5],  # x3 was published for training
        "glioma, annotated": [0],
        "glioma, other": [1],
        "meningioma, other": [2],
        "notumor, other": [3],
        "pituitary, annotated": [4],
        "pituitary, other": [5],
    }
    assert list(subsets_of(paths, predictions, split, set())) == list(rows)[:3]


def test_confusion_counts_and_shares(predictions):
    table = confusion_table(predictions).set_index(["actual", "predicted"])
    assert table.loc[("pituitary", "meningioma")].tolist() == [2, 1]
    assert table.loc[("glioma", "glioma")].tolist() == [1, 0.5]
    assert table["images"].sum() == 6


def test_headline_is_flat_short_and_json(predictions):
    overall, parts = overall_table(predictions), subset_table(predictions, {"all": np.ones(6, bool)}, 2)
    values = headline(overall, parts)
    assert next(iter(values)) == "accuracy"
    assert len(values) <= 6
    assert values["accuracy"] == pytest.approx(1 / 3)
    assert values["auroc"] == overall.set_index("score").loc["auroc", "value"]
    assert values["with_duplicate"] is None
    json.dumps(values, allow_nan=False)


def test_confidence_lists_calibration_sets_and_silence(predictions):
    thresholds = {"0.9": [0.5] * 4, "0.95": [1.0] * 4}
    _, selective = selective_table(predictions)
    table = confidence_table(
        set_table(predictions, thresholds), {"before": 0.25, "after": 0.125}, selective, temperature=1.25
    )
    values = table.set_index("score")["value"].to_dict()
    assert (values["ece_before"], values["ece"], values["temperature"]) == (0.25, 0.125, 1.25)
    assert (values["set_coverage_95"], values["set_size_95"]) == (1, 4)
    assert values["set_size_90"] < 4
    assert (values["answered_at_1pc"], values["answered_at_2pc"]) == tuple(selective.values())
