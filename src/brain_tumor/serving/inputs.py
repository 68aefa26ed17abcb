"""From the bytes of a file to grey pictures: raster formats, DICOM and NIfTI.

Nothing is decoded before its size is known.
"""

import gzip
import io
import stat
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import iter_pixels

from brain_tumor.data.catalog import IMAGE_SUFFIXES
from brain_tumor.data.images import MAX_PIXELS, Pixels, _grey
from brain_tumor.errors import UserError

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""Raster formats as Pillow names them; it reads others too, some with the help of other programs."""

SUFFIXES = IMAGE_SUFFIXES | {".dcm", ".nii", ".nii.gz"}
"""Files that are read when a folder is named; a file that is named itself is read whatever it is called."""

MAX_BYTES = 2**29
"""Of a file, and of a volume once unpacked in single precision: 512 slices of 512 x 512."""

MAX_FRAMES = 4096

DECODING, DECODING_WIDE = 8, 32
"""Bytes that a pixel of a raster file takes while it is read: with up to 8 bits a channel, and with more."""

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles that become black and white where a file names no window of its own."""

ISOTROPIC = 1.2
"""Spacings that differ by less than this factor name no slice axis; slices are axial then."""


# Of odd values in parts of a file that are not used. For the whole process, because filters are not safe for threads.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom|nibabel)\b")


@dataclass(frozen=True)
class Picture:
    """A grey picture from a file.

    Attributes:
        grey: (height, width), 0 to 255.
        frame: its number in a volume or multi-frame file, from 0; None where the file is one picture.
        modality: as DICOM names it, such as MR or CT; None where the format does not tell.
    """

    grey: Pixels
    frame: int | None = None
    modality: str | None = None


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: no such file, no plain file, not readable, or larger than `MAX_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited on for ever
            raise UserError(f"{path} is no plain file: name pictures or a folder of them")
        if status.st_size > MAX_BYTES:
            raise UserError(f"{path}: {status.st_size:,} bytes, at most {MAX_BYTES:,} are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is not there") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None


def pictures(name: str, content: bytes | bytearray, most: int = MAX_BYTES) -> Iterator[Picture]:
    """The pictures in a file, recognised by its content.

    A raster file (JPEG, PNG, TIFF, BMP, WebP) is one picture, of a TIFF file with pages the first. DICOM gives
    a picture a frame, NIfTI one a slice.

    Args:
        name: of the file, for messages only.
        content: its bytes.
        most: bytes of a volume once unpacked in single precision; larger ones are refused.

    Raises:
        UserError: empty, cut off, damaged, of another format, or too large.
    """
    if not content:
        raise UserError(f"{name} is empty: replace or remove it")
    try:
        if content[128:132] == b"DICM":
            yield from _dicom(name, content, most)
        elif _is_nifti(content):
            yield from _nifti(name, content, most)
        else:
            yield Picture(_raster(name, content, most))
    except UserError:
        raise
    # Parsers of these formats let all kinds of exceptions through for damaged files, so none can be named here.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{name} cannot be read ({reason}): replace or remove it") from None


def to_grey(values: NDArray[Any], low: float, high: float) -> Pixels:
    """Values from `low` to `high` as 0 to 255; those outside are clipped, undefined ones black."""
    scaled = (np.nan_to_num(values.astype(np.float32), nan=low) - low) / max(high - low, 1e-12)
    return (scaled.clip(0, 1) * 255).round().astype(np.uint8)


def _raster(name: str, content: bytes | bytearray, most: int) -> Pixels:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UserError(f"{name} cannot be read (of no known format, or damaged): replace or remove it") from None
    with image:
        _check_size(name, image.height, image.width, 1, DECODING_WIDE if image.mode[0] in "IF" else DECODING, most)
        return np.asarray(_grey(image))


def _dicom(name: str, content: bytes | bytearray, most: int) -> Iterator[Picture]:
    data = pydicom.dcmread(io.BytesIO(content))
    if "PixelData" not in data:
        raise UserError(f"{name} is DICOM without pixels: remove it")
    frames = int(data.get("NumberOfFrames") or 1)
    rows, columns, samples = int(data.Rows), int(data.Columns), int(data.get("SamplesPerPixel") or 1)
    _check_size(name, rows, columns, frames, samples * int(data.BitsAllocated) // 8, most)
    modality = str(data.get("Modality") or "") or None
    single = frames == 1
    for number, values in enumerate(iter_pixels(data)):
        grey = _dicom_grey(data, values, samples)
        yield Picture(grey, None if single else number, modality)


def _dicom_grey(data: pydicom.Dataset, values: NDArray[Any], samples: int) -> Pixels:
    """A frame as it is shown: rescaled, windowed (PS3.3 C.11.2.1.2.1), MONOCHROME1 turned round."""
    if samples > 1:
        return np.asarray(Image.fromarray(to_grey(values, 0, 2 ** int(data.BitsStored) - 1)).convert("L"))
    values = apply_modality_lut(values, data).astype(np.float32)
    centre, width = (_first(data.get(key)) for key in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 1:
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    else:
        low, high = np.percentile(values, (DARKEST, BRIGHTEST))
    grey = to_grey(values, float(low), float(high))
    return 255 - grey if data.get("PhotometricInterpretation") == "MONOCHROME1" else grey


def _first(value: Any) -> float | None:
    """The first of several windows, or the only one; None where there is none or it is no number."""
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else None
    number = None if value is None else float(value)
    return number if number is not None and np.isfinite(number) else None


def _is_nifti(content: bytes | bytearray) -> bool:
    if content[:2] == b"\x1f\x8b":
        content = zlib.decompressobj(wbits=31).decompress(content, 512)
    return content[344:348] == b"n+1\0" or content[4:8] == b"n+2\0"


def _nifti(name: str, content: bytes | bytearray, most: int) -> Iterator[Picture]:
    if content[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise UserError(f"{name}: more than {most:,} bytes once unpacked")
    kind = nibabel.Nifti1Image if content[344:348] == b"n+1\0" else nibabel.Nifti2Image
    header = kind.header_class.from_fileobj(io.BytesIO(content))  # type: ignore[no-untyped-call]
    shape = header.get_data_shape()
    if len(shape) < 2 or any(size > 1 for size in shape[3:]) or header.get_data_dtype().kind not in "iuf":
        raise UserError(f"{name}: shape {shape} of {header.get_data_dtype()}: expected a volume of grey values")
    rows, columns, frames = (*shape, 1)[:3]
    _check_size(name, rows, columns, frames, header.get_data_dtype().itemsize, most)
    volume = nibabel.as_closest_canonical(kind.from_bytes(bytes(content)))  # type: ignore[no-untyped-call]
    values = np.asanyarray(volume.dataobj, np.float32).reshape(
        volume.shape[:3] if len(shape) > 2 else (*volume.shape, 1)
    )
    sample = values.ravel(order="K")[:: max(1, values.size // 1_000_000)]
    finite = sample[np.isfinite(sample)]
    low, high = np.percentile(finite, (DARKEST, BRIGHTEST)) if finite.size else (0, 1)
    spacings = np.array((*volume.header.get_zooms(), 1.0)[:3], float)
    axis = slice_axis(values.shape, spacings)
    single = values.shape[axis] == 1
    for number, plane in enumerate(np.moveaxis(values, axis, 0)):
        # In canonical order the axes run to the right, the front and the top. Turned so, the front or the top of the
        # head is up, and the patient's right side is left, as radiologists look at slices.
        grey = to_grey(plane.T[::-1, ::-1], float(low), float(high))
        first, second = np.delete(spacings, axis)
        yield Picture(_square_pixels(name, grey, second, first), None if single else number)


def slice_axis(shape: tuple[int, ...], spacings: NDArray[np.floating]) -> int:
    """The axis across the slices of a volume in canonical order: that of the largest spacing, else from foot to head.

    Args:
        shape: of the volume, three values; an axis of one slice is the one.
        spacings: of its voxels, three values.
    """
    if 1 in shape:
        return shape.index(1)
    known = np.where(np.isfinite(spacings) & (spacings > 0), spacings, 1.0)
    largest = int(known.argmax())
    return largest if known[largest] > ISOTROPIC * np.median(known) else 2


def _square_pixels(name: str, grey: Pixels, row_spacing: float, column_spacing: float) -> Pixels:
    """Scale the axis with the larger spacing, so that a millimetre is as long on both."""
    ratio = row_spacing / column_spacing if min(row_spacing, column_spacing) > 0 else 1.0
    if not np.isfinite(ratio) or 1 / 1.01 < ratio < 1.01:
        return grey
    height, width = grey.shape
    height, width = (round(height * ratio), width) if ratio > 1 else (height, round(width / ratio))
    if not 0 < height * width <= MAX_PIXELS:
        raise UserError(f"{name}: voxels of {row_spacing:g} x {column_spacing:g}: check the header")
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))


def _check_size(name: str, rows: int, columns: int, frames: int, sample_bytes: int, most: int) -> None:
    if min(rows, columns, frames) < 1:
        raise UserError(f"{name}: {rows} x {columns} pixels, {frames} frames: the header is damaged")
    if rows * columns > MAX_PIXELS or frames > MAX_FRAMES or rows * columns * frames * max(4, sample_bytes) > most:
        raise UserError(
            f"{name}: {frames} of {rows} x {columns} pixels: at most {MAX_PIXELS:,} pixels, {MAX_FRAMES:,} frames and "
            f"{most:,} bytes are read"
        )
