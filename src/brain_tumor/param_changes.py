"""How the parameters of one study differ from those of another, as they are given to `dvc exp run`."""

from collections.abc import Mapping
from typing import Any

from brain_tumor.files import flattened


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Parameters of `after` that `before` has otherwise, as `section.name=value`: what `-S` takes.

    Args:
        before: sections of parameters, as read from `params.yaml`.
        after: likewise.
    """
    old = dict(flattened(before))
    return [f"{name}={written(value)}" for name, value in flattened(after) if old.get(name) != value]


def written(value: object) -> str:
    """A value as one writes it in a command."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            return f"[{','.join(map(written, value))}]"
        case _:
            return str(value)
