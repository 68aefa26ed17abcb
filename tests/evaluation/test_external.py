import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from brain_tumor.data.arrays import UNKNOWN_TUMOUR
from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX
from brain_tumor.evaluation.external import COLUMNS, external_table
from brain_tumor.evaluation.tables import Predictions


@pytest.fixture
def answers(rng):
    return rng.dirichlet(np.ones(len(CLASSES)), 90)


def test_scores_are_those_of_scikit_learn_within_each_collection(rng, answers):
    classes = rng.choice(["glioma", "notumor"], 90)
    collections = np.repeat(["a", "b", "only tumours"], 30)
    classes = classes.astype(object)
    classes[60:] = "tumor"
    groups = np.array([str(number // 3) for number in range(90)])
    labels = np.array([UNKNOWN_TUMOUR if name == "tumor" else CLASSES.index(name) for name in classes])
    predictions = Predictions(answers, labels, CLASSES, groups, 1)
    table = external_table(predictions, collections.tolist()).set_index("collection")
    assert list(table.index) == ["a", "b", "only tumours"]
    found = answers[60:].argmax(axis=1) != HEALTHY_INDEX
    assert table.loc["only tumours", "sensitivity"] == pytest.approx(found.mean())
    assert table.loc["only tumours", ["auroc", "specificity"]].isna().all()
    for name, place in (("a", slice(0, 30)), ("b", slice(30, 60))):
        tumour, found = classes[place] != "notumor", answers[place].argmax(axis=1) != HEALTHY_INDEX
        row = table.loc[name]
        assert row["auroc"] == pytest.approx(roc_auc_score(tumour, 1 - answers[place, HEALTHY_INDEX]))
        assert row["sensitivity"] == pytest.approx(found[tumour].mean())
        assert row["specificity"] == pytest.approx((~found)[~tumour].mean())
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
        assert (row["tumour_images"], row["healthy_images"], row["groups"]) == (tumour.sum(), (~tumour).sum(), 10)


def test_without_external_images_the_table_is_empty():
    table = external_table(None, [])
    assert table.empty
    assert tuple(table.columns) == COLUMNS
