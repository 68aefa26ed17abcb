"""Numbers and tables as text: metrics of any nesting, and the CSV files of `plots/`."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from brain_tumor.figures.page import Table


def tables(title: str, values: Mapping[str, Any]) -> Iterator[Table]:
    """Show nested mappings as tables, whatever their names are.

    Plain values become one table of names and values; mappings that lie side by side and have the same names become
    the rows of one table; everything else gets a table of its own.

    Args:
        title: above the first table; those of nested mappings add their own name.
        values: as read from JSON.
    """
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    if plain:
        yield Table(title, (), tuple((words(name), (text(value),)) for name, value in plain.items()))
    alike: dict[object, list[str]] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat = bool(value) and not any(isinstance(item, Mapping) for item in value.values())
            alike.setdefault(frozenset(value) if flat else name, []).append(name)
    for names in alike.values():
        if len(names) > 1:
            columns = tuple(values[names[0]])
            rows = tuple((words(name), tuple(text(values[name][column]) for column in columns)) for name in names)
            yield Table("" if plain else title, tuple(map(words, columns)), rows)
        else:
            yield from tables(": ".join(filter(None, (title, words(names[0])))), values[names[0]])


def csv_table(path: Path, title: str) -> Table | None:
    """A CSV file as a table; None where it has no rows."""
    columns, *rows = csv_rows(path)
    cells = tuple((row[0], tuple(map(_cell, row[1:]))) for row in rows)
    return Table(title, tuple(map(words, columns[1:])), cells) if rows else None


def csv_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file, the first its columns."""
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


def words(name: object) -> str:
    """A name without underscores."""
    return str(name).replace("_", " ")


def percent(value: float | None) -> str:
    """A share; undefined for None."""
    return "undefined" if value is None else f"{value:.1%}"


def setting(value: object) -> str:
    """A parameter as it is written in YAML."""
    return value if isinstance(value, str) else json.dumps(value)


def _cell(cell: str) -> str:
    """A number as in the other tables; any other text as it is."""
    try:
        return text(int(cell)) if cell.isdigit() else text(float(cell))
    except ValueError:
        return cell or "undefined"


def text(value: object) -> str:
    """A value of JSON for people."""
    match value:
        case None:
            return "undefined"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.3g}"
        case list():
            return ", ".join(map(text, value))
        case _:
            return str(value)
