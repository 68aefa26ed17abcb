"""The study that adds one measure against the difference between sources at a time."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sources

from brain_tumor.data.catalog import CLASSES
from brain_tumor.params import Params, load_params


@pytest.fixture
def params(monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(Path(__file__).parents[2])
    return load_params()


def flat(params: Params) -> dict[str, Any]:
    values: dict[str, Any] = pd.json_normalize(params.model_dump()).iloc[0].to_dict()
    return values


def test_each_measure_changes_what_it_names_and_the_last_leaves_the_recipe_of_params(params: Params) -> None:
    rows = sources.recipes(params)
    before = flat(sources.changed(params, sources.RECIPE | sources.PLAIN))
    for (name, recipe), (_, named) in zip(rows[:-1], sources.MEASURES, strict=True):
        after = flat(recipe)
        assert {key for key in after if str(after[key]) != str(before[key])} == set(named), name
        before = after
    assert rows[-2][1] == sources.changed(params, sources.RECIPE)
    assert rows[-1][1] == sources.changed(params, sources.RECIPE | {"split.additional": "train"})


def test_a_tumour_of_unknown_type_is_right_when_any_tumour_is_called() -> None:
    part: Any = SimpleNamespace(labels=np.array([0, 2, len(CLASSES), len(CLASSES), len(CLASSES)]))
    called = np.eye(len(CLASSES))[[0, 3, 0, 2, 3]]
    assert sources.right_answers(called, part).tolist() == [True, False, True, False, True]


def test_a_row_a_measure_has_the_mean_of_the_seeds_and_their_range() -> None:
    columns = ["validation_accuracy", "test_accuracy", "meningioma_elsewhere", "notumor_sensitivity", sources.NEW]
    rows = pd.DataFrame({"measure": ["b", "b", "a"], "seed": [1, 2, 1]})
    rows = rows.assign(**{name: [0.9, 0.8, 0.5] for name in (*columns, *sources.AUROCS)})
    shown = sources.by_measure(rows)
    assert shown.index.tolist() == ["b", "a"]
    assert shown.loc["b", sources.NEW] == "85.0 (80.0 to 90.0)"
    assert shown.loc["b", sources.HALVES_AUROC] == "0.850 (0.800 to 0.900)"
