"""A grey picture, how values become greys, and how much of either is read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brain_tumor.errors import UserError, printable

Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: no MRI slice has as many, and a small file can decode to gigabytes."""

MAX_FRAMES = 4096

MAX_VOXELS = 2**27
"""Of all frames of a file: 512 slices of 512 x 512."""

MAX_RATIO = 100
"""Of the longer side of a picture to the shorter one; no picture of a head comes near."""

_OBJECT = re.compile(r"<[\w.]+ object at 0x[0-9a-fA-F]+>")

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles that become black and white where a file names no window of its own."""


@dataclass(frozen=True)
class Picture:
    """A grey picture from a file.

    Attributes:
        grey: (height, width), 0 to 255.
        frame: its number in a volume or multi-frame file, from 0; None where the file is one picture.
        volume: the number of its volume in a file of several, from 0; None where the file is one volume or picture.
        spacing: millimetres from a slice of a volume to the next; None where the header does not tell.
        reason: why the header says that this is no MRI of a brain; None where it does not say so.
    """

    grey: Pixels
    frame: int | None = None
    volume: int | None = None
    spacing: float | None = None
    reason: str | None = None


def to_grey(values: NDArray[Any], low: float, high: float) -> Pixels:
    """Values from `low` to `high` as 0 to 255; those outside are clipped, undefined ones black."""
    with np.errstate(all="ignore"):
        scaled = values.astype(np.float32)
        np.nan_to_num(scaled, copy=False, nan=low)
        scaled -= low
        scaled /= max(high - low, 1e-12)
        np.clip(scaled, 0, 1, out=scaled)
        scaled *= 255
        return np.asarray(scaled.round(out=scaled), np.uint8)


def contrast(values: NDArray[Any]) -> tuple[float, float]:
    """What becomes black and white by percentiles of the defined values; 0 and 1 where there are none.

    Args:
        values: of any shape; of many, about a million are looked at.
    """
    sample = values.ravel(order="K")[:: max(1, values.size // 1_000_000)]
    finite = sample[np.isfinite(sample)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, (DARKEST, BRIGHTEST))
    return float(low), float(high)


def check_size(name: str, rows: int, columns: int, frames: int, pixel_bytes: int, most: int) -> None:
    """Refuse what is too large before it is decoded.

    Args:
        name: of the file.
        rows: of a frame.
        columns: of a frame.
        frames: in the file.
        pixel_bytes: that a pixel of a frame takes while it is decoded.
        most: bytes that a frame may take.

    Raises:
        UserError: more than `most`, `MAX_PIXELS`, `MAX_FRAMES` or `MAX_VOXELS`; or nothing at all.
    """
    if min(rows, columns, frames) < 1:
        raise UserError(f"{name}: {rows} x {columns} pixels, {frames} frames: the header is damaged")
    pixels = rows * columns
    if pixels > MAX_PIXELS or frames > MAX_FRAMES or pixels * frames > MAX_VOXELS or pixels * pixel_bytes > most:
        raise UserError(
            f"{name}: {frames} of {rows} x {columns} pixels: at most {MAX_PIXELS:,} pixels a picture, {MAX_FRAMES:,} "
            f"frames, {MAX_VOXELS:,} pixels in all and {most:,} bytes while a picture is decoded are read"
        )


def unpacked(name: str, pieces: Iterable[bytes], most: int) -> bytearray:
    """The pieces of a packed file together.

    Raises:
        UserError: more than `most` bytes.
    """
    content = bytearray()
    for piece in pieces:
        content += piece
        if len(content) > most:
            raise UserError(f"{name}: more than {most:,} bytes once unpacked")
    return content


def one_line(text: str, most: int = 200) -> str:
    """Text from a file or a library as `printable` makes it, without repeated space and addresses, cut after a word."""
    text = printable(" ".join(_OBJECT.sub("", text).split()))
    return text if len(text) <= most else f"{text[:most].rpartition(' ')[0] or text[:most]} ..."
