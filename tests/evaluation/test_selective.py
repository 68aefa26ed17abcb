import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_tumor.evaluation.selective import coverage_at, risk_coverage


def pair(confidence):
    confidence = np.asarray(confidence, float)
    return np.stack([confidence, 1 - confidence], axis=1)


def test_curve_by_hand():
    curve = risk_coverage(pair([0.9, 0.8, 0.8, 0.6]), [0, 1, 0, 0])
    assert curve.to_dict("list") == {
        "confidence": [0.9, 0.8, 0.6],
        "coverage": [0.25, 0.75, 1.0],
        "risk": [0, pytest.approx(1 / 3), 0.25],
    }
    assert coverage_at(curve, 0) == 0.25
    assert coverage_at(curve, 0.25) == 1  # the risk may fall again
    assert coverage_at(curve, 0.01) == 0.25


@given(st.lists(st.tuples(st.sampled_from([0.5, 0.55, 0.7, 0.9, 1.0]), st.integers(0, 1)), min_size=1, max_size=40))
def test_curve_agrees_with_counting(cases):
    confidence, labels = map(np.array, zip(*cases, strict=True))
    curve = risk_coverage(pair(confidence), labels)
    assert curve["confidence"].tolist() == sorted(set(confidence), reverse=True)
    for level, coverage, risk in curve.itertuples(index=False):
        answered = confidence >= level
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx((labels[answered] == 1).mean())
    assert curve["coverage"].iloc[-1] == 1


def test_all_correct_all_wrong_one_image():
    assert coverage_at(risk_coverage(pair([0.9, 0.8]), [0, 0]), 0.0) == 1
    assert coverage_at(risk_coverage(pair([0.9, 0.8]), [1, 1]), 0.5) == 0
    assert coverage_at(risk_coverage(pair([0.9]), [0]), 0.01) == 1
    with pytest.raises(ValueError, match="expected"):
        risk_coverage(np.empty((0, 2)), [])
