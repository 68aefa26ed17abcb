"""From the bytes of a file to grey pictures: the only place where it is told what a file is.

Nothing is decoded before its size is known. A file takes at most about 1 GB and 5 seconds.
"""

import contextlib
import gzip
import io
import stat
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from brain_tumor.data.formats.dicom import DIRECTORY, Slice, dicom_pictures, dicom_slice, is_dicom
from brain_tumor.data.formats.nifti import is_nifti, nifti_pictures
from brain_tumor.data.formats.pixels import MAX_RATIO, Picture, one_line, unpacked
from brain_tumor.data.formats.raster import is_raster, raster_pictures
from brain_tumor.errors import UserError

MAX_BYTES = 2**29
"""Of a file, and once unpacked: 512 slices of 512 x 512 in single precision."""

MAX_MEMORY = 900_000_000
"""Bytes of a file and of what it takes to decode it together."""

_HEAD = 1024
_GZIP = b"\x1f\x8b"

_PAIR = (b"\x5c\1\0\0", b"\0\0\1\x5c", b"\x1c\2\0\0", b"\0\0\2\x1c")
"""The size of its header, with which an ANALYZE or NIfTI file begins."""

_OTHERS = {
    b"\0\0\0\1": "FreeSurfer's MGH, which is not read: convert it to NIfTI (mri_convert)",
    b"CDF": "MINC or other netCDF, which is not read: convert it to NIfTI (mnc2nii)",
    b"\x89HDF": "MINC or other HDF5, which is not read: convert it to NIfTI (mnc2nii)",
    b"NRRD": "NRRD, which is not read: convert it to NIfTI",
    b"GIF8": "GIF, which is not read: save it as PNG",
    b"\0\0\0\x0cjP": "JPEG 2000 outside DICOM, which is not read: save it as PNG",
    b"%PDF": "PDF, which is not read: save its pictures as PNG",
    b"PK\3\4": "a ZIP archive: unpack it and name what is in it",
}
"""What files begin with that people take for pictures, and what they are."""


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: no such file, no plain file, not readable, or larger than `MAX_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited on for ever
            raise UserError(f"{path} is no plain file but a folder, a pipe or the like: name a file or remove it")
        if status.st_size > MAX_BYTES:
            raise UserError(f"{path}: {status.st_size:,} bytes, at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is not there") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


def is_picture(path: Path) -> bool:
    """Whether a file begins as one that `pictures` reads, whatever it is called; false where it cannot be opened."""
    head = _head_of(path)
    return is_dicom(head) or is_nifti(head) or is_raster(head)


def slice_of(path: Path) -> Slice | None:
    """What a DICOM file says of its series; None for other files, and for what cannot be read or is no slice."""
    with contextlib.suppress(UserError):  # reading the file as a picture tells what is wrong with it
        return slice_in(read_bytes(path)) if is_dicom(_head_of(path)) else None
    return None


def slice_in(content: bytes) -> Slice | None:
    """As `slice_of`, of the content of a file."""
    with contextlib.suppress(Exception):
        if holds_dicom(content):
            return dicom_slice(bytes(_unpacked("", content, MAX_MEMORY // 3)), MAX_MEMORY)
    return None


def holds_dicom(content: bytes) -> bool:
    """Whether the content of a file is DICOM of pictures, gzipped or not."""
    with contextlib.suppress(zlib.error):
        return is_dicom(_unpacked_head(content[:_HEAD]))
    return False


def pictures(name: str, content: bytes | bytearray, most: int = MAX_MEMORY) -> Iterator[Picture]:
    """The pictures in a file, recognised by its content, gzipped or not.

    A raster file (JPEG, PNG, TIFF, BMP, WebP) is one picture, or one a page. DICOM gives a picture a frame, NIfTI one
    a slice.

    Args:
        name: of the file, for messages only.
        content: its bytes.
        most: bytes that decoding may take beside the content.

    Raises:
        UserError: empty, cut off, damaged, of another format, or too large; one line.
    """
    if not content:
        raise UserError(f"{name} is empty: replace or remove it")
    try:
        for picture in _decoded(name, content, min(most, MAX_MEMORY - len(content))):
            height, width = picture.grey.shape
            if max(height, width) > MAX_RATIO * min(height, width):
                raise UserError(f"{name}: {height} x {width} pixels are no picture of a head: remove it")
            yield picture
    except UserError:
        raise
    # Parsers of these formats let all kinds of exceptions through for damaged files, so none can be named here.
    except Exception as error:
        reason = one_line(str(error)) or type(error).__name__
        raise UserError(f"{name} cannot be read as an image ({reason}): replace or remove it") from None


def _decoded(name: str, content: bytes | bytearray, most: int) -> Iterator[Picture]:
    head = _unpacked_head(content[:_HEAD])
    if is_nifti(head):
        content = _unpacked(name, content, min(most, MAX_BYTES))
        return nifti_pictures(name, content, most - len(content))
    if not is_dicom(head) and not is_raster(head):
        raise UserError(f"{name} {_guess(name, head)}")
    content = bytes(_unpacked(name, content, most // 3))
    return (dicom_pictures if is_dicom(head) else raster_pictures)(name, content, most)


def _guess(name: str, head: bytes | bytearray) -> str:
    if DIRECTORY in head:
        return "is a directory of DICOM files: name its folder"
    if head[:4] in _PAIR or name.lower().endswith((".img", ".img.gz")):
        return "is one half of an ANALYZE or NIfTI pair, which is not read: convert it to one .nii file"
    for beginning, text in _OTHERS.items():
        if head.startswith(beginning):
            return f"is {text}"
    return "cannot be read as an image (of no known format, or damaged): replace or remove it"


def _head_of(path: Path) -> bytes | bytearray:
    if not path.is_file():  # a pipe would be waited on for ever
        return b""
    try:
        with path.open("rb") as file:
            return _unpacked_head(file.read(_HEAD))
    except (OSError, zlib.error):
        return b""


def _unpacked_head(head: bytes | bytearray) -> bytes | bytearray:
    return zlib.decompressobj(wbits=31).decompress(head, _HEAD) if head[:2] == _GZIP else head


def _unpacked(name: str, content: bytes | bytearray, most: int) -> bytes | bytearray:
    if content[:2] != _GZIP:
        return content
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        return unpacked(name, iter(partial(file.read, 2**20), b""), most)
