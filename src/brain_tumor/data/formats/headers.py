"""What files say of their size, read without a decoder: some small files take minutes or gigabytes to decode."""

import re
import struct
from collections.abc import Iterator
from typing import Any

from brain_tumor.data.formats.pixels import MAX_FRAMES, MAX_PIXELS
from brain_tumor.errors import UserError

MAX_MARKS = 100_000
"""Of chunks of PNG and WebP, and of values of a tag of TIFF; decoders spend time or memory on each."""

MAX_SEGMENTS = 500
"""Of a JPEG stream; Pillow spends time on each that grows with those before it."""

MAX_SCANS = 50
"""Of a JPEG stream; encoders write up to about ten."""

MAX_SCANNED = 800_000_000
"""Pixels of a JPEG stream times its scans."""

# In the data of a scan, less than 0xc0 or a restart marker follows 0xff.
_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_J2K_SIZE = b"\xff\x4f\xff\x51"

TIFF_KIND, TIFF_PHOTOMETRIC = 254, 262
_WIDTH, _HEIGHT, _COMPRESSION, _STRIP_ROWS, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 278, 322, 323
_JPEG_IN_TIFF = (6, 7)
_TIFF_NUMBERS = {3: "H", 4: "I", 16: "Q"}
_TIFF_BYTES = (1, 2, 7)


def check_chunks(name: str, content: bytes | bytearray) -> None:
    """Count the chunks of a PNG or WebP file.

    Raises:
        UserError: more than `MAX_MARKS`.
    """
    png = content[:1] == b"\x89"
    place = 8 if png else 12
    for _ in range(MAX_MARKS):
        if place >= len(content):
            return
        size = content[place : place + 4] if png else content[place + 7 : place + 3 : -1]
        length = int.from_bytes(size, "big")
        place += 12 + length if png else 8 + length + length % 2
    raise UserError(f"{name} has more than {MAX_MARKS:,} chunks: save it anew")


def jpeg_size(name: str, content: bytes | bytearray) -> tuple[int, int]:
    """Rows and columns of a JPEG or JPEG-LS stream; of several frame headers, the largest, and 0 where there is none.

    Raises:
        UserError: more than `MAX_SEGMENTS`, more than `MAX_SCANS` scans, or too many for so large a picture.
    """
    rows, columns, scans, place = 0, 0, 0, 2
    for _ in range(MAX_SEGMENTS):
        marker = _JPEG_MARKER.search(content, place)
        if not marker or marker[1][0] == _JPEG_END:
            break
        start = marker.end()
        place = start + int.from_bytes(content[start : start + 2], "big")
        scans += marker[1][0] == _JPEG_SCAN
        if marker[1][0] in _JPEG_FRAMES and len(content) >= start + 7:
            found = struct.unpack_from(">HH", content, start + 3)
            rows, columns = max(rows, found[0]), max(columns, found[1])
    else:
        raise UserError(f"{name} has more than {MAX_SEGMENTS:,} segments: save it anew")
    _check_scans(name, scans, rows * columns)
    return rows, columns


def jpeg2000_size(content: bytes | bytearray) -> tuple[int, int]:
    """Rows and columns of a JPEG 2000 stream; of several in a file of boxes, the largest, and 0 where there is none."""
    rows = columns = 0
    for place in [0] if content.startswith(_J2K_SIZE) else [match.start() for match in re.finditer(_J2K_SIZE, content)]:
        if len(content) >= place + 24:
            right, bottom, left, top = struct.unpack_from(">4I", content, place + 8)
            rows, columns = max(rows, bottom - top), max(columns, right - left)
    return rows, columns


def tiff_pages(name: str, content: bytes | bytearray) -> list[dict[int, int]]:
    """The pages of a TIFF file: whole numbers by tag, where a tag has one.

    Raises:
        UserError: more than `MAX_FRAMES` pages, a tag of more than `MAX_MARKS` numbers, or tiles or scans that take
            much more to decode than their page has pixels.
    """
    order = "<" if content[:1] == b"I" else ">"
    big = b"+" in content[2:4]
    address, count_format, entry_format = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    pages: list[dict[int, int]] = []
    places: set[int] = set()
    try:
        (place,) = struct.unpack_from(order + address, content, 8 if big else 4)
        while place and place not in places:
            places.add(place)
            (count,) = struct.unpack_from(order + count_format, content, place)
            place += struct.calcsize(order + count_format)
            pages.append(dict(_tiff_tags(name, content, order, order + entry_format, place, min(count, MAX_MARKS))))
            _check_tiles(name, content, pages[-1])
            if len(pages) > MAX_FRAMES:
                raise UserError(f"{name} has more than {MAX_FRAMES:,} pages")
            (place,) = struct.unpack_from(
                order + address, content, place + count * struct.calcsize(order + entry_format)
            )
    except struct.error:  # an address beyond the end: the pages before may be whole
        pass
    return pages


def _tiff_tags(
    name: str, content: bytes | bytearray, order: str, entry: str, place: int, count: int
) -> Iterator[tuple[int, int]]:
    for number in range(count):
        value: Any
        tag, kind, values, value = struct.unpack_from(entry, content, place + number * struct.calcsize(entry))
        if values > MAX_MARKS and kind not in _TIFF_BYTES:
            raise UserError(f"{name} has a tag {tag} of {values:,} values: the header is damaged")
        if values == 1 and kind in _TIFF_NUMBERS:
            yield tag, struct.unpack_from(order + _TIFF_NUMBERS[kind], value)[0]


def _check_tiles(name: str, content: bytes | bytearray, page: dict[int, int]) -> None:
    width, height = page.get(_WIDTH, 0), page.get(_HEIGHT, 0)
    tile = page.get(_TILE_WIDTH, width) * page.get(_TILE_HEIGHT, min(height, page.get(_STRIP_ROWS, height)))
    if tile > MAX_PIXELS:
        raise UserError(f"{name} has a tile of {tile:,} pixels, at most {MAX_PIXELS:,} are read")
    if page.get(_COMPRESSION) in _JPEG_IN_TIFF:
        _check_scans(name, content.count(b"\xff\xda") * tile // max(1, width * height), width * height)


def _check_scans(name: str, scans: int, pixels: int) -> None:
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED:
        raise UserError(f"{name} has {scans} scans of {pixels:,} pixels, too many to be read: save it anew")
