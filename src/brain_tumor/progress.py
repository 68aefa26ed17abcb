"""Progress bars, where there is a terminal to draw them on."""

import sys
from collections.abc import Callable, Iterable
from typing import TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def progress(name: str, total: int | None = None, unit: str = "img") -> Callable[[Iterable[Item]], Iterable[Item]]:
    """A function that passes an iterable on and shows how far it is; silent where stderr is no terminal."""

    def wrap(items: Iterable[Item]) -> Iterable[Item]:
        bar: Iterable[Item] = tqdm(items, desc=name, total=total, unit=unit, disable=not is_terminal(sys.stderr))
        return bar

    return wrap


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody watches; a process that was started with a closed stderr has none."""
    return stream is not None and stream.isatty()
