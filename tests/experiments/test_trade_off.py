"""The table that places runs between sensitivity to new tumours and specificity."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import trade_off
from sklearn.metrics import roc_curve


def test_curve_of_two_uniform_distributions_has_its_closed_form() -> None:
    alarm, found = np.linspace(0, 1, 10_001), np.sqrt(np.linspace(0, 1, 10_001))
    measured = trade_off.curve(alarm, found)
    # P(found > t) = 1 - t², P(alarm < t) = t: the area is the integral of 1 - t² over t.
    assert measured["auroc"] == pytest.approx(2 / 3, abs=1e-3)
    assert measured["sensitivity_at_95"] == pytest.approx(1 - 0.95**2, abs=1e-3)
    assert measured["specificity_at_95"] == pytest.approx(np.sqrt(0.05), abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_curve_keeps_what_it_promises_on_points_of_the_curve_of_sklearn(seed: int) -> None:
    random = np.random.default_rng(seed)
    alarm, found = random.beta(2, 5, 400), random.beta(5, 2, 300)
    measured = trade_off.curve(alarm, found)
    labels = np.repeat([0, 1], [len(alarm), len(found)])
    false, sensitivity, _ = roc_curve(labels, np.concatenate([alarm, found]), drop_intermediate=False)
    assert measured["sensitivity_at_95"] == pytest.approx(sensitivity[false <= 0.05].max(), abs=2 / len(found))
    assert measured["specificity_at_95"] == pytest.approx(1 - false[sensitivity >= 0.95].min(), abs=2 / len(alarm))


def test_what_is_left_out_are_the_ways_that_the_reading_of_the_test_folder_names() -> None:
    shown = pd.read_csv(Path(__file__).parents[2] / trade_off.SHOWN)
    named: set[Any] = {what for left_out in trade_off.LEFT_OUT.values() for what in left_out}
    assert named <= set(shown["shows"])
    assert shown["path"].is_unique
