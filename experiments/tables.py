"""Tables of results that grow by a row, whatever else adds to them at the same time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from brain_tumor.files import atomic_file

LOCKS = Path("build/locks")


def has(table: Path, **key: Any) -> bool:
    """Whether the table has a row with these values, by column."""
    if not table.exists():
        return False
    rows = pd.read_csv(table)
    return bool(pd.concat([rows[column] == value for column, value in key.items()], axis=1).all(axis=1).any())


def put(table: Path, rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Write rows into the table, in the place of those with the same key.

    Args:
        table: a CSV file, which need not be there yet.
        rows: to be added.
        key: columns that tell one row from another.

    Returns:
        The whole table.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCKS / f"{table.name}.lock"):
        if table.exists():
            rows = pd.concat([pd.read_csv(table), rows]).drop_duplicates(list(key), keep="last")
        with atomic_file(table) as temporary:
            rows.to_csv(temporary, index=False, float_format="%.4f")
    return rows
