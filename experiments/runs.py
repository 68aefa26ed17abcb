"""The table of queued runs, `experiments/runs.csv`: what each changed, its scores, and how long it took.

Run from the project's root after `dvc queue start`. Runs that the table has already stay in it, so that what was
learned outlives the queue.

    dvc exp run --queue -S train.learning_rate=1e-3
    dvc queue start
    python experiments/runs.py
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import tables
from ruamel.yaml import YAML

from brain_tumor.data.catalog import HEALTHY
from brain_tumor.errors import UserError
from brain_tumor.param_changes import changes
from brain_tumor.stage import stage

TABLE = Path("experiments/runs.csv")
TASKS = Path(".dvc/tmp/exps/run")
SCORES = {
    "train": "metrics/split.json",
    "validation_accuracy": "metrics/train.json",
    "accuracy": "metrics/evaluate.json",
    "with_duplicate": "metrics/evaluate.json",
    "without_duplicate": "metrics/evaluate.json",
    "external_tumor": "metrics/evaluate.json",
}
"""Which numbers the table has of a run, and the file that holds each."""


@stage
def main() -> None:
    rows = pd.DataFrame([row(file, result) for file, result in finished()])
    if rows.empty:
        raise UserError(f"{TASKS}: no queued run has come to its end: `dvc queue status` says what became of them")
    print(tables.put(TABLE, rows, ["run", "on"]).to_string(index=False))


def finished() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The files in which DVC keeps how queued runs ended, the first to end first, and what is in them."""
    for file in sorted(TASKS.glob("*/*.run"), key=lambda file: file.stat().st_mtime):
        result = json.loads(file.read_text())
        if result["result_ref"]:
            yield file, result


def row(file: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """A run as a row of the table."""
    commit, baseline = result["result_ref"], result["baseline_rev"]
    scores = {name: json.loads(_git("show", f"{commit}:{path}")).get(name) for name, path in SCORES.items()}
    return {
        "run": result["name"],
        "on": baseline[:7],
        "changed": "; ".join(changes(_parameters(baseline), _parameters(commit))),
        **scores,
        "notumor": _specificity(commit),
        "minutes": minutes(file),
    }


def minutes(file: Path) -> float | None:
    """How long a run took; None where the file system or another `stat` than GNU's does not tell.

    DVC makes the folder of a run when it starts, and writes `file` last. Python tells no time of birth on Linux.
    """
    told = subprocess.run(["stat", "--format=%W", str(file.parent)], capture_output=True, text=True, check=False)
    made = 0 if told.returncode else float(told.stdout)
    return (file.stat().st_mtime - made) / 60 if made > 0 else None


def _specificity(commit: str) -> float:
    """Share of the healthy test images called so."""
    scores = pd.read_csv(StringIO(_git("show", f"{commit}:plots/scores_by_class.csv"))).set_index(["class", "score"])
    return float(scores["value"].loc[HEALTHY, "sensitivity"])


def _parameters(commit: str) -> Mapping[str, Any]:
    parameters: Mapping[str, Any] = YAML(typ="safe", pure=True).load(_git("show", f"{commit}:params.yaml"))
    return parameters


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"git {' '.join(arguments)}: {result.stderr.strip()}: was the run removed?")
    return result.stdout


if __name__ == "__main__":
    main()
