"""What an audit says: tables in letters, and one HTML page that shows pairs side by side."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from brain_tumor.audit.result import AuditResult, couples
from brain_tumor.data.catalog import TRAIN
from brain_tumor.data.images import read_image
from brain_tumor.duplicates.search import KINDS
from brain_tumor.figures.page import Picture, Table, write_page

DRAWN = 60
"""At most so many pairs are drawn in each section of the HTML sheet."""

_THUMBNAIL = 160  # pixels of the longer side


def result_tables(result: AuditResult) -> list[Table]:
    """The parts; pairs by parts; and for test and validation the images with a copy in train, by class."""
    return [_subsets_table(result), _pairs_table(result), *_leak_tables(result)]


def summary(result: AuditResult) -> list[str]:
    """A sentence for each part held out, and one for labels that contradict each other."""
    leaked = result.leaked()["part"].value_counts()
    sentences = [
        f"{leaked.get(part.name, 0):,} of {part.images:,} {part.name} images "
        f"({_share(leaked.get(part.name, 0), part.images)}) have a copy in {TRAIN}."
        for part in reversed(result.parts)
        if part.name != TRAIN
    ]
    two_labels = int(result.pairs["two_labels"].sum())
    if two_labels:
        sentences.append(f"Pairs of copies with two labels, because their classes differ: {two_labels:,}.")
    return sentences


def write_sheet(path: Path, result: AuditResult) -> None:
    """Write one HTML file with the tables and pairs side by side, which needs nothing beside it."""
    write_page(
        path,
        "audit.html",
        folder=printable(result.folder.resolve().name),
        threshold=result.threshold,
        sentences=summary(result),
        tables=result_tables(result),
        unreadable=[printable(reason) for part in result.parts for reason in part.unreadable],
        sections=[
            {"title": title, "pairs": len(pairs), "shown": [_shown(result.folder, pair) for pair in _drawn(pairs)]}
            for title, pairs in _sections(result)
        ],
    )


def plain(table: Table) -> str:
    """A table in letters of one width."""
    lines = [("", *table.columns), *((name, *cells) for name, cells in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join([name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))])
        for name, *cells in lines
    )
    return "\n".join([table.title, *aligned])


def printable(text: str) -> str:
    """The text with line breaks, control characters and bytes that are no letters as escapes."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _subsets_table(result: AuditResult) -> Table:
    rows = []
    for part in result.parts:
        groups = result.images.loc[result.images["part"] == part.name, "group"].nunique()
        counts = (part.images, groups, len(part.unreadable), part.others)
        rows.append((part.name, (printable(part.folder), *(f"{count:,}" for count in counts))))
    return Table("Images", ("folder", "images", "without repeats", "unreadable", "other files"), tuple(rows))


def _pairs_table(result: AuditResult) -> Table:
    rows = []
    for name, other in couples([part.name for part in reversed(result.parts)]):
        pairs = _between(result.pairs, name, other)
        title = f"within {name}" if name == other else f"{name} and {other}"
        rows.append((title, (*_kind_counts(pairs), f"{int(pairs['two_labels'].sum()):,}")))
    return Table("Pairs of copies", ("pairs", *KINDS, "two labels"), tuple(rows))


def _leak_tables(result: AuditResult) -> Iterator[Table]:
    leaked = result.leaked()
    for part in reversed(result.parts):
        if part.name == TRAIN:
            continue
        images = result.images[result.images["part"] == part.name]
        copied = leaked[leaked["part"] == part.name]
        rows = []
        if images["class"].any():
            for name, members in images.groupby("class"):
                rows.append(
                    _leak_row(printable(str(name)) or "(no class)", len(members), copied[copied["class"] == name])
                )
        rows.append(_leak_row("all", len(images), copied))
        title = f"{part.name.capitalize()} images with a copy in {TRAIN}"
        yield Table(title, ("images", "with a copy", "share", *KINDS), tuple(rows))


def _leak_row(name: str, images: int, copied: pd.DataFrame) -> tuple[str, tuple[str, ...]]:
    count, *kinds = _kind_counts(copied)
    return name, (f"{images:,}", count, _share(len(copied), images), *kinds)


def _kind_counts(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (len(rows), *(int((rows["kind"] == kind).sum()) for kind in KINDS)))


def _between(pairs: pd.DataFrame, name: str, other: str) -> pd.DataFrame:
    return pairs[(pairs["part"] == name) & (pairs["copy_part"] == other)]


def _sections(result: AuditResult) -> Iterator[tuple[str, pd.DataFrame]]:
    """What the sheet draws: title and pairs."""
    yield "Copies with two labels", result.pairs[result.pairs["two_labels"]]
    for name, other in couples([part.name for part in reversed(result.parts)]):
        title = f"Copies within {name}" if name == other else f"{name.capitalize()} images with a copy in {other}"
        yield title, _between(result.pairs, name, other)


def _drawn(pairs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """At most `DRAWN` of the pairs, evenly from the plainest and strongest to the weakest."""
    order = pairs.assign(rank=pairs["kind"].map(KINDS.index)).sort_values(
        ["rank", "correlation"], ascending=[True, False], kind="stable"
    )
    chosen = np.unique(np.linspace(0, len(order) - 1, min(len(order), DRAWN)).round().astype(int))
    for row in order.iloc[chosen].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _shown(folder: Path, pair: dict[str, Any]) -> dict[str, Any]:
    correlation = "" if np.isnan(pair["correlation"]) else f", correlation {pair['correlation']:.4f}"
    return {
        "caption": f"{pair['kind']}{correlation}",
        "pictures": [_thumbnail(folder, pair["path"]), _thumbnail(folder, pair["copy_path"])],
        "classes": [printable(pair["class"]), printable(pair["copy_class"])] if pair["two_labels"] else [],
    }


def _thumbnail(folder: Path, path: str) -> Picture:
    """A small picture in its own colours and proportions, so that a reader recognises it."""
    with Image.open(folder / path) as image:
        if image.mode.startswith(("I", "F")):  # deeper than 8 bits, which Pillow would cut off
            small = Image.fromarray(read_image(folder / path, _THUMBNAIL))
        else:
            small = (image.convert("RGBA") if image.mode in ("P", "PA", "LA") else image).convert("RGB")
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=85)
    source = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    return Picture(source, printable(path), printable(path))


def _share(count: int, images: int) -> str:
    return f"{count / images:.1%}"
