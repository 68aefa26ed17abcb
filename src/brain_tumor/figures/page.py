"""Pages that carry everything inside themselves: what they are made of, and how they are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from brain_tumor.files import write_text


@dataclass(frozen=True)
class Table:
    """Named rows of text.

    Attributes:
        title: above the table; empty for none.
        columns: headings beside the row names; none for a table of names and values.
        rows: name and one cell a column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Picture:
    """A picture inside the page: its data URI, caption, and words for who cannot see it."""

    source: str
    caption: str
    alternative: str


@dataclass(frozen=True)
class Section:
    """One section of the page; what is empty is not shown."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    gallery: Sequence[Picture] = ()


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write an HTML file that needs nothing beside it.

    Args:
        path: the file.
        template: name of one in `templates/`.
        values: by the names that the template has for them; one that is missing is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("brain_tumor.figures"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(path, environment.get_template(template).render(values))
