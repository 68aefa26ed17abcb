import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from brain_tumor.evaluation.curves import ranking_tables


def test_areas_are_those_of_scikit_learn(rng):
    labels = rng.integers(0, 3, 3000)
    probabilities = rng.dirichlet(np.ones(3), 3000) * 0.7 + np.eye(3)[labels] * 0.3
    roc, precision_recall = ranking_tables(probabilities, labels, "abc")
    for index, name in enumerate("abc"):
        truth, score = labels == index, probabilities[:, index]
        area = np.trapezoid(roc[name], roc["false_positive_rate"])
        np.testing.assert_allclose(area, roc_auc_score(truth, score), atol=0.005)
        np.testing.assert_allclose(precision_recall[name].mean(), average_precision_score(truth, score), atol=0.01)


def test_curves_by_hand():
    score = np.array([0.9, 0.8, 0.7, 0.2])
    values = np.stack([score, 1 - score], axis=1), np.array([0, 1, 0, 1]), ["a", "b"]
    roc, precision_recall = ranking_tables(*values)
    sensitivity = roc.set_index("false_positive_rate")["a"]
    assert (sensitivity[0.0], sensitivity[1.0]) == (0.5, 1)  # the first alarm is true, the second false
    precision = precision_recall.set_index("sensitivity")["a"]
    assert (precision[0.5], precision[1.0]) == (1, 2 / 3)


def test_a_class_without_images_has_no_curve():
    values = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]), np.array([0, 1]), ["a", "b", "c"]
    for table in ranking_tables(*values):
        assert table["c"].isna().all()
        assert table[["a", "b"]].notna().all(axis=None)
