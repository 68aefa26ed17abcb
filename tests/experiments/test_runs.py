"""The table of runs, from what `dvc exp show --csv` prints."""

import csv
from pathlib import Path

import pandas as pd
import pytest
import runs

SHOWN = """\
Experiment,rev,typ,Created,parent,State,Executor,train,metrics/evaluate.json:accuracy,classes.notumor.recall,\
metrics/train.json:accuracy,seed,download.additional,train.learning_rate,stages/train.py
,workspace,baseline,,,,,90,0.7,0.6,0.5,17,[],0.001,57586fb
,master,baseline,2026-11-27T15:44:19,,,,90,0.7,0.6,0.5,17,[],0.001,57586fb
,bbc53eb,baseline,2026-11-27T15:44:12,,,,90,0.8,0.7,0.5,17,[],0.003,57586fb
two,aeadeb6,branch_commit,2026-11-27T15:44:15,,,,95,0.85,0.75,0.5,18,['br35h'],0.003,57586fb
one,fd9eb17,branch_commit,2026-11-27T15:44:13,,Success,,95,0.95,,0.5,17,['br35h'],0.003,57586fb
three,1f28ecf,branch_base,2026-11-27T15:44:17,,Queued,Dvc-task,,,,,18,[],0.1,57586fb
"""
PARAMETERS = ["seed", "download.additional", "train.learning_rate"]


@pytest.fixture
def rows() -> pd.DataFrame:
    return pd.DataFrame(runs.finished(csv.DictReader(SHOWN.splitlines()), PARAMETERS)).set_index("run")


def test_finished_runs_have_their_scores_and_what_they_changed_against_their_commit(rows: pd.DataFrame) -> None:
    assert rows.index.tolist() == ["two", "one"]
    assert rows["on"].tolist() == ["bbc53eb", "bbc53eb"]
    assert rows["changed"].tolist() == ["seed=18; download.additional=['br35h']", "download.additional=['br35h']"]
    assert rows["accuracy"].tolist() == [0.85, 0.95]
    assert rows["train"].tolist() == [95, 95]
    assert rows["notumor"].iloc[0] == 0.75
    assert rows["notumor"].isna().iloc[1]
    assert rows["external_tumor"].isna().all()


def test_runs_that_differ_in_their_seed_stand_together(rows: pd.DataFrame) -> None:
    together = runs.over_seeds(rows)
    assert together.index.tolist() == [("bbc53eb", "download.additional=['br35h']")]
    assert together["accuracy"].item() == "0.9 (0.85 to 0.95)"


def test_a_row_of_the_same_key_is_replaced_and_others_stay(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    runs.put(table, pd.DataFrame({"run": ["a", "b"], "score": [0.1, 0.2]}), ["run"])
    whole = runs.put(table, pd.DataFrame({"run": ["a"], "score": [0.3]}), ["run"])
    assert whole.set_index("run")["score"].to_dict() == {"b": 0.2, "a": 0.3}
    pd.testing.assert_frame_equal(pd.read_csv(table), whole.reset_index(drop=True))
