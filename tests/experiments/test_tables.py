"""Tables that several processes add rows to."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
import tables


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "table.csv"


def add(table: Path, seed: int) -> None:
    for number in range(10):
        tables.put(table, pd.DataFrame([{"measure": f"m{number}", "seed": seed, "score": 0.5}]), ["measure", "seed"])


def test_no_row_is_lost_when_processes_add_at_the_same_time(table: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as processes:
        list(processes.map(partial(add, table), range(4)))
    rows = pd.read_csv(table)
    assert len(rows) == 40
    assert not rows.duplicated(["measure", "seed"]).any()


def test_a_row_of_the_same_key_is_replaced_and_others_stay(table: Path) -> None:
    tables.put(table, pd.DataFrame({"run": ["a", "b"], "score": [0.1, 0.2]}), ["run"])
    whole = tables.put(table, pd.DataFrame({"run": ["a"], "score": [0.3]}), ["run"])
    assert whole.set_index("run")["score"].to_dict() == {"b": 0.2, "a": 0.3}
    pd.testing.assert_frame_equal(pd.read_csv(table), whole.reset_index(drop=True))


def test_a_row_is_there_when_all_of_its_key_is(table: Path) -> None:
    assert not tables.has(table, run="a", seed=1)
    tables.put(table, pd.DataFrame({"run": ["a", "b"], "seed": [1, 2]}), ["run", "seed"])
    assert tables.has(table, run="a", seed=1)
    assert not tables.has(table, run="a", seed=2)
