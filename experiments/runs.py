"""The table of runs, `experiments/runs.csv`: what each changed against the commit it started from, and its scores.

Run from the project's root after `dvc queue start`. Rows of earlier runs stay, so that what was learned outlives the
queue. Prints the new ones, runs that differ only in their seed together.

    dvc exp run --queue -S 'train.learning_rate=3e-4,1e-3' -S 'seed=17,18,19'
    dvc queue start
    python experiments/runs.py
"""

import csv
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from brain_tumor.errors import UserError
from brain_tumor.files import flattened, write_csv
from brain_tumor.params import load_params
from brain_tumor.stage import stage

TABLE = Path("experiments/runs.csv")
SCORES = {
    "train": ("metrics/split.json", "train"),
    "validation_accuracy": ("metrics/train.json", "validation_accuracy"),
    "accuracy": ("metrics/evaluate.json", "accuracy"),
    "with_duplicate": ("metrics/evaluate.json", "accuracy_with_duplicate"),
    "without_duplicate": ("metrics/evaluate.json", "accuracy_without_duplicate"),
    "external_tumor": ("metrics/evaluate.json", "external_tumor"),
    "notumor": ("metrics/evaluate.json", "classes.notumor.recall"),
}
"""Columns of the table, and the file and name of each metric."""


@stage
def main() -> None:
    command = [sys.executable, "-m", "dvc", "exp", "show", "--all-commits", "--csv"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode:
        raise UserError(f"dvc exp show: {shown.stderr.strip()}")
    parameters = [name for name, _ in flattened(load_params().model_dump())]
    rows = pd.DataFrame(finished(csv.DictReader(shown.stdout.splitlines()), parameters))
    if rows.empty:
        raise UserError("no run is finished: `dvc queue status` says what became of them")
    put(TABLE, rows, ["run", "on"])
    print(over_seeds(rows).to_string())


def finished(shown: Iterable[Mapping[str, str]], parameters: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Runs that have ended, as rows of the table.

    Args:
        shown: rows of `dvc exp show --csv`; runs stand below the commit they started from.
        parameters: the names to compare, `section.name`.
    """
    baseline: Mapping[str, str] = {}
    for row in shown:
        if row["typ"] == "baseline":
            baseline = row
        elif row["State"] not in ("Queued", "Running", "Failed"):
            before, after = ({name: value(of, "params.yaml", name) for name in parameters} for of in (baseline, row))
            yield {
                "run": row["Experiment"] or row["rev"],
                "on": baseline["rev"],
                "changed": "; ".join(f"{name}={after[name]}" for name in parameters if after[name] != before[name]),
                **{name: float(value(row, *metric) or "nan") for name, metric in SCORES.items()},
            }


def value(row: Mapping[str, str], file: str, name: str) -> str:
    """A metric or parameter, empty where a run has none; DVC puts the file before a name that several files have."""
    return row.get(f"{file}:{name}", row.get(name, ""))


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each commit and set of changes but the seed: the mean of each score, its lowest and its highest."""
    changed = rows["changed"].str.replace(r"(?:^|; )seed=\d+", "", regex=True).str.removeprefix("; ")
    return rows.assign(changed=changed).groupby(["on", "changed"], sort=False)[list(SCORES)].agg(mean_and_range)


def mean_and_range(scores: pd.Series) -> str:
    return f"{scores.mean():.4g} ({scores.min():.4g} to {scores.max():.4g})"


def put(table: Path, rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Write rows into a CSV file, in the place of those with the same key; returns the whole table."""
    if table.exists():
        rows = pd.concat([pd.read_csv(table), rows]).drop_duplicates(list(key), keep="last")
    write_csv(table, rows.round(4))
    return rows


if __name__ == "__main__":
    main()
