"""Long lists of numbers, kept out of `metrics/` so that `dvc metrics show` fits on a screen."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

LEAKS = "test_with_published_copy"


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested mappings; the names of a path are joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def list_of(values: Mapping[str, Any]) -> pd.DataFrame:
    """Nested mappings as a table: `name`, `value`; None becomes an empty cell."""
    return pd.DataFrame(list(flattened(values)), columns=["name", "value"])


def split_headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers of `metrics/split.json`.

    Args:
        report: as `split_report` gives it.

    Returns:
        How many images train and how many test, and the share of published test images that have `leaked`: they have a
        copy in the published training set.
    """
    return {name: report["images"][name]["all"] for name in ("train", "test")} | {"leaked": report[LEAKS]["share"]}


def split_counts(report: Mapping[str, Any]) -> pd.DataFrame:
    """Images by split and class, and last the published test images with a copy in the published training set.

    Args:
        report: as `split_report` gives it.

    Returns:
        A row a split: `split`, `all`, and a column a class; 0 where there are none.
    """
    rows = {**report["images"], "published test with a copy in train": report[LEAKS]["by_class"]}
    table = pd.DataFrame.from_dict(rows, orient="index").fillna(0).astype(int)
    return table.rename_axis("split").reset_index()


def split_list(report: Mapping[str, Any]) -> pd.DataFrame:
    """What `split_counts` leaves out: why images are excluded, kinds of copies, doubtful labels, patients."""
    values = {name: value for name, value in report.items() if name not in {"images", LEAKS}}
    return list_of({"copies": report[LEAKS]["by_kind"], **values})
