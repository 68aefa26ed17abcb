"""What is known of single images beyond their class: slice, patient and tumour outline, read from `data/raw`."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, CLASSES
from brain_tumor.errors import UserError

Outline = NDArray[np.float64]
"""(points, 2): x and y of a closed polygon, in fractions of the picture's width and height.

A tumour of several regions has a polygon each; a row of NaN parts one from the next.
"""

SLICES_FILE, OUTLINES_FILE = "slices.csv", "outlines.csv"

SLICE_COLUMNS = ("image", "slice", "patient", "label")
"""Columns of `slices.csv`.

`image` is a path relative to `data/raw`; two images of the main set are duplicates exactly if they name the same
`slice`, those of external data can be two channels of it; `label` is the true class, whatever the folder says.
"""

OUTLINE_COLUMNS = ("image", "outline")
"""Columns of `outlines.csv`; `outline` is `x,y x,y …` as in `Outline`, with `;` between polygons. Images without a
tumour have no row."""

_TOLERANCE = 0.05  # an outline drawn by hand may leave the picture by so much of its side
_SUBPIXEL_BITS = 4


def read_slices(raw: Path) -> pd.DataFrame | None:
    """Read `annotations/slices.csv` below `raw`.

    Returns:
        A row an annotated image with `SLICE_COLUMNS`, all text. None if the set has no such file.

    Raises:
        UserError: as `read_table`, or a label that is no class.
    """
    path = raw / ANNOTATIONS_FOLDER / SLICES_FILE
    if not path.exists():
        return None
    table = read_table(path, SLICE_COLUMNS)
    for row in np.flatnonzero(~table["label"].isin(CLASSES)):
        got = table["label"].iloc[row]
        raise UserError(f"{path}, line {row + 2}: label is {got!r}, expected {', '.join(CLASSES)}")
    return table


def read_outlines(raw: Path) -> dict[str, Outline]:
    """Read `annotations/outlines.csv` below `raw`.

    Returns:
        The outline of each image that has one, by its path relative to `raw`; empty if the set has no such file.

    Raises:
        UserError: as `read_table`, or an outline that is no polygon within its picture.
    """
    path = raw / ANNOTATIONS_FOLDER / OUTLINES_FILE
    if not path.exists():
        return {}
    table = read_table(path, OUTLINE_COLUMNS)
    return {image: parse_outline(path, image, text) for image, text in table.itertuples(index=False)}


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The `columns` of a CSV file, all text; what other columns it has is passed over.

    Raises:
        UserError: no CSV file, a column that is not there, an empty field, or a value of the first column named twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as CSV with the columns {', '.join(columns)}: {reason}") from None
    if not set(columns) <= set(table.columns):
        raise UserError(f"{path}: columns {', '.join(table.columns)}, expected {', '.join(columns)}")
    for column in columns:
        for row in np.flatnonzero(table[column] == ""):
            raise UserError(f"{path}, line {row + 2}: {column} is empty: fill it in or remove the line")
    for row in np.flatnonzero(table[columns[0]].duplicated()):
        raise UserError(f"{path}, line {row + 2}: {table[columns[0]].iloc[row]} is named twice: remove one line")
    return table[list(columns)]


def format_outline(points: Outline) -> str:
    """The text of an outline in `outlines.csv`, to a ten-thousandth of the side."""
    return " ".join(";" if np.isnan(x) else f"{x:.4f},{y:.4f}" for x, y in points)


def parse_outline(path: Path, image: str, text: str) -> Outline:
    """The outline of an image from its text in the file `path`.

    Raises:
        UserError: no polygon within its picture.
    """
    try:
        points = np.array(
            [[float(number) for number in point.split(",")] for point in text.replace(";", "nan,nan").split()]
        )
    except ValueError:
        raise UserError(f"{path}: the outline of {image} is not of the form 'x,y x,y …'") from None
    if points.ndim != 2 or points.shape[1] != 2 or min(map(len, polygons(points))) < 3:
        raise UserError(f"{path}: the outline of {image} needs at least three points x,y")
    corners = np.concatenate(polygons(points))
    if not (np.isfinite(corners).all() and (corners >= -_TOLERANCE).all() and (corners <= 1 + _TOLERANCE).all()):
        raise UserError(f"{path}: the outline of {image} leaves the picture: give fractions of width and height")
    return points


def outline_mask(points: Outline, height: int, width: int) -> NDArray[np.bool_]:
    """Fill an outline at any picture size.

    Args:
        points: (points, 2), x and y in fractions of width and height.
        height: of the mask, in pixels.
        width: of the mask, in pixels.

    Returns:
        (height, width), True on and inside the outline; what lies outside the picture is cut off.
    """
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons(points):
        pixels = polygon * (width, height) - 0.5  # a pixel's centre has whole coordinates
        corners = np.rint(pixels * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, shift=_SUBPIXEL_BITS)
    return mask.astype(bool)


def outline_of(mask: NDArray[np.bool_]) -> Outline:
    """The borders of all regions of a mask, none of specks of a pixel or two; a row of NaN parts one from the next."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    rows = [np.empty((0, 2))]
    for contour in sorted((contour for contour in contours if len(contour) > 2), key=cv2.contourArea, reverse=True):
        rows += [np.full((1, 2), np.nan), (contour[:, 0] + 0.5) / mask.shape[::-1]]
    return np.concatenate(rows)[1:]


def polygons(points: Outline) -> list[Outline]:
    """The polygons of an outline, each without the row that parts it from the next."""
    return [part[~np.isnan(part[:, 0])] for part in np.split(points, np.flatnonzero(np.isnan(points[:, 0])))]
