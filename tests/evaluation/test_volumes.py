import numpy as np
import pytest
from sklearn.metrics import roc_curve

from brain_tumor.data.catalog import CLASSES, HEALTHY_INDEX
from brain_tumor.evaluation.tables import Predictions
from brain_tumor.evaluation.volume_table import COLUMNS, volume_table
from brain_tumor.evaluation.volumes import best_threshold, slices_of_volumes, tumour_evidence, volume_answer

GLIOMA, MENINGIOMA, PITUITARY = (CLASSES.index(name) for name in ("glioma", "meningioma", "pituitary"))


def slices(tumour, label=GLIOMA):
    """Slices with these probabilities of one kind of tumour, and none of another."""
    rows = np.zeros((len(tumour), len(CLASSES)))
    rows[:, label], rows[:, HEALTHY_INDEX] = tumour, 1 - np.array(tumour)
    return rows


@pytest.mark.parametrize(
    ("tumour", "levels", "evidence"),
    [
        ([0, 1, 0, 0.2, 0.9, 0.1, 0.8, 0], range(8), [0, 0, 0.2, 0.2, 0.2, 0.8, 0.1, 0]),  # one alone, and a gap
        ([0.9, 0.7, 0.1], range(5, 8), [0.7, 0.7, 0.1]),
        ([0.9, 0.1, 0.7, 0.8], [1, 4, 9, 10], [0.9, 0.1, 0.7, 0.7]),  # only slices that are there count
        ([0.1, 0.9, 0.8, 0.3], [3, 1, 2, 4], [0.3, 0.8, 0.8, 0.1]),  # in any order
        ([0.6], [0], [0.6]),
    ],
)
def test_evidence_is_the_median_with_the_neighbours_that_are_there(tumour, levels, evidence):
    assert tumour_evidence(slices(tumour), list(levels)) == pytest.approx(evidence)


def test_the_class_is_that_of_the_marked_slices_not_of_the_mean_over_all(rng):
    probabilities = np.concatenate([slices([0.4] * 30, MENINGIOMA), slices([0.02] * 10)])
    probabilities[31:35] = ill = rng.dirichlet([8, 1, 0.5, 2], 4)

    answer = volume_answer(probabilities, range(40), 0.5)

    assert probabilities.mean(axis=0)[[GLIOMA, MENINGIOMA]].argmax() == 1
    assert np.flatnonzero(answer.marked).tolist() == [31, 32, 33, 34]
    assert answer.label == GLIOMA
    assert answer.probabilities.sum() == pytest.approx(1)
    assert 1 - answer.probabilities[HEALTHY_INDEX] == tumour_evidence(probabilities, range(40)).max()
    tumours = [GLIOMA, MENINGIOMA, PITUITARY]
    ratios = answer.probabilities[tumours] / answer.probabilities[GLIOMA]
    means = ill.mean(axis=0)
    assert ratios == pytest.approx(means[tumours] / means[GLIOMA])


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_a_volume_is_healthy_exactly_if_no_slice_is_marked(threshold):
    answer = volume_answer(slices([0.1, 0.6, 0.6, 0.6, 0]), range(5), threshold)

    assert answer.marked.tolist() == [False, *[threshold < 0.6] * 3, False]
    assert answer.label == (GLIOMA if threshold < 0.6 else HEALTHY_INDEX)
    assert answer.probabilities == pytest.approx(slices([0.6])[0])


def paths(volume, sequence, levels, labels):
    return [
        f"additional/lgg/{label}/TCGA_{volume}_19990101_{n:02d}_{sequence}.png"
        for n, label in zip(levels, labels, strict=True)
    ]


def test_a_slice_that_is_marked_for_its_neighbours_does_not_decide():
    probabilities = slices([1, 1, 0, 1, 1])
    probabilities[2] = slices([1e-9], PITUITARY)

    answer = volume_answer(probabilities, range(5), 0.5)

    assert answer.marked.all()
    assert answer.label == GLIOMA
    assert answer.probabilities == pytest.approx(slices([1])[0], abs=1e-8)
    assert volume_answer(slices([0, 0]), [0, 1], 0.5).probabilities == pytest.approx(slices([0])[0])


def test_slices_are_recognised_by_the_names_that_lgg_gives_them():
    names = ["additional/br35h/tumor/y12.jpg", *paths("CS_4941", "t1c", [7], ["glioma"]), "Testing/a_1_t1.png"]

    found = slices_of_volumes(names)

    assert found.to_dict("index") == {
        1: {"collection": "lgg", "volume": "TCGA_CS_4941_19990101", "level": 7, "sequence": "t1c"}
    }


def test_the_threshold_has_the_best_sum_of_sensitivity_and_specificity(rng):
    labels = rng.choice([GLIOMA, HEALTHY_INDEX], 60)
    probabilities = slices(np.clip(rng.normal(0.5 + 0.2 * (labels == GLIOMA), 0.2), 0, 1).round(1))
    names = [path for v in "abc" for path in paths(v, "t1", range(0, 40, 2), ["glioma"] * 20)]  # all without neighbours

    threshold = best_threshold(probabilities, labels, names)

    tumour = 1 - probabilities[:, HEALTHY_INDEX]
    false, found, _ = roc_curve(labels == GLIOMA, tumour)
    marked = tumour > threshold
    assert marked[labels == GLIOMA].mean() - marked[labels != GLIOMA].mean() == pytest.approx((found - false).max())
    assert np.abs(tumour - threshold).min() == pytest.approx(0.05)  # between two values
    assert best_threshold(probabilities, np.full(60, GLIOMA), names) is None
    assert best_threshold(probabilities, labels, ["Training/glioma/a.jpg"] * 60) is None


def test_the_table_counts_by_hand():
    """One volume found but for a slice, with the wrong class; one not found; a healthy one, which is no row of it."""
    tumour = {"a": [0, 0.9, 0.9, 0, 0, 0], "b": [0.4, 0.4, 0, 0, 0, 0], "c": [0] * 6}
    ill = {"a": [0, 1, 1, 1, 0, 0], "b": [1, 1, 0, 0, 0, 0], "c": [0] * 6}
    names = [path for v in "abc" for path in paths(v, "flair", range(6), ["x"] * 6)]
    labels = np.where(np.concatenate(list(ill.values())), GLIOMA, HEALTHY_INDEX)
    probabilities = slices(np.concatenate(list(tumour.values())), MENINGIOMA)
    shuffled = np.random.default_rng(1).permutation(18)
    predictions = Predictions(probabilities, labels, CLASSES, np.repeat(["a", "b", "c"], 6), 1)
    mixed = Predictions(probabilities[shuffled], labels[shuffled], CLASSES, predictions.groups[shuffled], 1)

    table = volume_table(predictions, names, 0.5)

    (row,) = table.to_dict("records")
    assert tuple(table.columns) == COLUMNS
    assert (row["sequence"], row["volumes"], row["slices"], row["groups"]) == ("flair", 2, 12, 2)
    assert (row["found"], row["class_correct"]) == (0.5, 0)
    assert row["dice"] == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert row["slices_correct"] == pytest.approx((5 + 4) / 12)
    assert row["found_low"] <= row["found"] <= row["found_high"]
    assert volume_table(mixed, [names[i] for i in shuffled], 0.5).equals(table)
    assert volume_table(None, [], 0.5).empty
    assert volume_table(predictions, ["Testing/a.jpg"] * 18, 0.5).empty
