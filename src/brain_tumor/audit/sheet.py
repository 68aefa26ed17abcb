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
from brain_tumor.data.images import Pixels, decode
from brain_tumor.duplicates.correlation import plain_correlation
from brain_tumor.duplicates.search import IN_FRAME, KIND_OF_FLIP, KINDS
from brain_tumor.duplicates.views import flipped, looks_at
from brain_tumor.errors import printable
from brain_tumor.figures.page import Picture, Table, write_page

DRAWN = 60
"""At most so many pairs are drawn in each section of the HTML sheet."""

_THUMBNAIL = 160  # pixels a side


def result_tables(result: AuditResult) -> list[Table]:
    """The folders; pairs by folder; by class the held-out images with a duplicate in train, and those left."""
    return [_subsets_table(result), _pairs_table(result), *_leak_tables(result)]


def summary(result: AuditResult) -> list[str]:
    """For each folder held out, for what is independent, and for labels that contradict each other a sentence."""
    leaked = result.leaked()["folder"].value_counts()
    sentences = [
        f"{leaked.get(folder.name, 0):,} of {folder.images:,} {folder.name} images "
        f"({_share(leaked.get(folder.name, 0), folder.images)}) have a duplicate in {TRAIN}."
        for folder in reversed(result.folders)
        if folder.name != TRAIN
    ]
    held_out, left = result.folders[-1], result.independent()
    distinct = left["group"].nunique()
    once = f", {distinct:,} when duplicates among them count once" if distinct < len(left) else ""
    sentences.append(
        f"The independent {held_out.name} set, without a duplicate in another folder: {len(left):,} of "
        f"{held_out.images:,} images{once}."
    )
    two_labels = int(result.pairs["two_labels"].sum())
    if two_labels:
        sentences.append(f"Pairs of duplicates with two labels, because their classes differ: {two_labels:,}.")
    return sentences


def write_sheet(path: Path, result: AuditResult) -> None:
    """Write one HTML file with the tables and pairs side by side, which needs nothing beside it."""
    write_page(
        path,
        "audit.html",
        folder=printable(result.root.resolve().name),
        threshold=result.threshold,
        sentences=summary(result),
        tables=result_tables(result),
        unreadable=[printable(reason) for folder in result.folders for reason in folder.unreadable],
        sections=[
            {"title": title, "pairs": len(pairs), "shown": [_shown(result.root, pair) for pair in _drawn(pairs)]}
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


def _subsets_table(result: AuditResult) -> Table:
    rows = []
    for folder in result.folders:
        groups = result.images.loc[result.images["folder"] == folder.name, "group"].nunique()
        counts = (folder.images, groups, len(folder.unreadable), folder.others)
        rows.append((folder.name, (printable(folder.place), *(f"{count:,}" for count in counts))))
    return Table("Images", ("folder", "images", "without repeats", "unreadable", "other files"), tuple(rows))


def _pairs_table(result: AuditResult) -> Table:
    rows = []
    for name, other in couples([folder.name for folder in reversed(result.folders)]):
        pairs = _between(result.pairs, name, other)
        title = f"within {name}" if name == other else f"{name} and {other}"
        rows.append((title, (*_kind_counts(pairs), f"{int(pairs['two_labels'].sum()):,}")))
    return Table("Pairs of duplicates", ("pairs", *KINDS, "two labels"), tuple(rows))


def _leak_tables(result: AuditResult) -> Iterator[Table]:
    leaked, independent = result.leaked(), set(result.independent()["path"])
    for folder in reversed(result.folders):
        if folder.name == TRAIN:
            continue
        images = result.images[result.images["folder"] == folder.name]
        classes = images.groupby("class") if images["class"].any() else ()
        rows = [(printable(str(name)) or "(no class)", members) for name, members in classes]
        columns: tuple[str, ...] = ("images", "with a duplicate", "share", *KINDS)
        if folder is result.folders[-1]:
            columns = (*columns, "independent")
        cells = [
            (name, _leak_cells(members, leaked, independent)[: len(columns)])
            for name, members in [*rows, ("all", images)]
        ]
        yield Table(f"{folder.name.capitalize()} images with a duplicate in {TRAIN}", columns, tuple(cells))


def _leak_cells(images: pd.DataFrame, leaked: pd.DataFrame, independent: set[str]) -> tuple[str, ...]:
    leaks = leaked[leaked["path"].isin(images["path"])]
    count, *kinds = _kind_counts(leaks)
    left = int(images["path"].isin(independent).sum())
    return f"{len(images):,}", count, _share(len(leaks), len(images)), *kinds, f"{left:,}"


def _kind_counts(rows: pd.DataFrame) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (len(rows), *(int((rows["kind"] == kind).sum()) for kind in KINDS)))


def _between(pairs: pd.DataFrame, name: str, other: str) -> pd.DataFrame:
    return pairs[(pairs["folder"] == name) & (pairs["duplicate_folder"] == other)]


def _sections(result: AuditResult) -> Iterator[tuple[str, pd.DataFrame]]:
    """What the sheet draws: title and pairs."""
    yield "Duplicates with two labels", result.pairs[result.pairs["two_labels"]]
    for name, other in couples([folder.name for folder in reversed(result.folders)]):
        title = (
            f"Duplicates within {name}" if name == other else f"{name.capitalize()} images with a duplicate in {other}"
        )
        yield title, _between(result.pairs, name, other)


def _drawn(pairs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """At most `DRAWN` of the pairs, evenly from the plainest and strongest to the weakest."""
    order = pairs.assign(rank=pairs["kind"].map(KINDS.index)).sort_values(
        ["rank", "correlation"], ascending=[True, False], kind="stable"
    )
    chosen = np.unique(np.linspace(0, len(order) - 1, min(len(order), DRAWN)).round().astype(int))
    for row in order.iloc[chosen].to_dict("records"):
        yield {str(name): value for name, value in row.items()}


def _shown(root: Path, pair: dict[str, Any]) -> dict[str, Any]:
    told = "" if np.isnan(pair["correlation"]) else f", {pair['look']}, correlation {pair['correlation']:.4f}"
    names = (pair["path"], pair["duplicate_path"])
    pictures = zip(_compared(root, names, pair), map(printable, names), strict=True)
    return {
        "caption": f"{pair['kind']}{told}",
        "pictures": [Picture(_source(picture), name, name) for picture, name in pictures],
        "classes": [printable(pair["class"]), printable(pair["duplicate_class"])] if pair["two_labels"] else [],
    }


def _compared(root: Path, names: tuple[str, str], pair: dict[str, Any]) -> tuple[Pixels, Pixels]:
    """Two pictures as they were compared: in grey, squeezed to a square, in the frame, the first flipped."""
    first, second = (looks_at(decode(root / name), _THUMBNAIL) for name in names)
    looks = ((1, 1), (1, 2), (2, 1)) if pair["look"] in IN_FRAME else ((0, 0),)
    flips = np.flatnonzero(pair["kind"] == KIND_OF_FLIP) if pair["kind"] in KIND_OF_FLIP else (0,)
    ways = [(flipped(first[one], int(flip)), second[other]) for one, other in looks for flip in flips]
    return max(ways, key=lambda way: float(plain_correlation(way[0][None], way[1][None])[0]))


def _source(picture: Pixels) -> str:
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def _share(count: int, images: int) -> str:
    return f"{count / images:.1%}"
