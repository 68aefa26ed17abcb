"""Pages need nothing beside them, say what they are given as text, and are not written with anything missing."""

from pathlib import Path

import jinja2
import pytest

from brain_tumor.figures.page import Table, write_page

VALUES = {
    "folder": "scans",
    "threshold": 0.99,
    "sentences": ["<script>alert(1)</script>"],
    "tables": [Table("Images & more", ("folder",), (("train", ("<b>",)),))],
    "unreadable": [],
    "sections": [],
}


def test_values_are_text_and_no_markup(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "audit.html", **VALUES)
    page = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "Images &amp; more" in page


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_is_missing_leaves_no_file(tmp_path: Path, name: str) -> None:
    values = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(jinja2.UndefinedError, match=name):
        write_page(tmp_path / "page.html", "audit.html", **values)
    assert not list(tmp_path.iterdir())
