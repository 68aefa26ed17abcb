"""DICOM files to grey pictures, as a viewer shows them, and what their headers say of the series they belong to."""

import contextlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from brain_tumor.data.formats.headers import jpeg2000_size, jpeg_size
from brain_tumor.data.formats.pixels import Picture, Pixels, check_size, contrast, one_line, to_grey, unpacked
from brain_tumor.errors import UserError

MAX_READS = 300_000
"""Reads of a header, or of what holds the frames; an element takes one to three."""

MAX_ELEMENT = 2**18
"""Bytes of an element that describes the pixels; the largest is a table of 65,536 greys."""

MAX_RLE = 2**23
"""Bytes of run-length coded frames of a file: pydicom decodes them in Python, to up to 64 times as many."""

DECODING, DECODING_COMPRESSED = 14, 24
"""Bytes that a sample takes beside its own while it is read."""

LEAST_SHOWN = 0.25
"""Share of a window that has to be in use; of one that is too wide, few greys would be left."""

EXTRA = "'brain-tumor[dicom]'"

MRI = "MR"

DIRECTORY = b"1.2.840.10008.1.3.10\2\0"
"""What a DICOMDIR has in its head: its class, and the next element."""

_KEYWORDS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_EXPLICIT = (b"OB\0\0", b"OW\0\0", b"OF\0\0", b"OD\0\0", b"UN\0\0")
_NO_PREAMBLE = re.compile(rb"[\2\x08]\0.\0(?:[A-Z]{2}|..\0\0)|\0[\2\x08]\0.[A-Z]{2}", re.DOTALL)

# Stems of DICOM's terms (PS3.16, annex L) and of what scanners write. What names a head, too, stays one.
_HEAD = re.compile(r"BRAIN|HEAD|SKULL|NEURO|CRANI|CEREB|ENCEPH|PITUIT|SELLA|ORBIT|FACE")
_NO_HEAD = re.compile(
    r"ABD|PELVI|CHEST|THORA|BREAST|MAMM|SPINE|LUMB|CERVI|SACR|COCCY|NECK|KNEE|ANKLE|FOOT|FEET|HAND|WRIST|ELBOW|SHOULDER"
    r"|CLAVIC|SCAPUL|HUMER|FEMUR|TIBIA|FIBUL|PATELL|FOREARM|FINGER|THUMB|THIGH|CALF|EXTREMIT|HEART|CARDI|LUNG|LIVER"
    r"|KIDNEY|RENAL|PANCREA|SPLEEN|PROSTAT|BLADDER|\bUTER|\bOVAR|\bTESTI|STERNUM|AORTA|\b(?:ARM|LEG|HIP|RIB|TOE)S?\b"
)

# Of odd values in a header. For the whole process, because filters are not safe for threads.
warnings.filterwarnings("ignore", module=r"pydicom\b")


@dataclass(frozen=True)
class Slice:
    """What the header of a picture says of the series it is a slice of.

    Attributes:
        series: its SeriesInstanceUID.
        modality: as DICOM names it; empty where the header does not tell.
        description: of the series; its number where there is none.
        axes: six values, the directions of a row and of a column; empty where unknown.
        place: along the normal of the slice, in millimetres; None where unknown.
        number: of the slice in its series; 0 where unknown.
    """

    series: str
    modality: str
    description: str
    axes: tuple[float, ...]
    place: float | None
    number: int


def is_dicom(head: bytes | bytearray) -> bool:
    """Whether a file that begins so, unpacked, is DICOM of pictures, with a preamble or without."""
    return (head[128:132] == b"DICM" or _NO_PREAMBLE.match(head) is not None) and DIRECTORY not in head


def dicom_slice(content: bytes, most: int) -> Slice | None:
    """What a DICOM file says of its series; None for several frames, a localizer, no series, or no order in it.

    Args:
        content: unpacked.
        most: bytes that it may take.

    Raises:
        UserError: too large.
        Exception: what pydicom raises for a damaged file.
    """
    data, _ = _header("", _inflated("", content, most))
    series = str(data.get("SeriesInstanceUID") or "")
    if not series or int(data.get("NumberOfFrames") or 1) > 1 or "LOCALIZER" in (data.get("ImageType") or ()):
        return None
    axes = tuple(map(float, data.get("ImageOrientationPatient") or ()))
    corner = tuple(map(float, data.get("ImagePositionPatient") or ()))
    known = len(axes) == 6 and len(corner) == 3
    number = data.get("InstanceNumber")
    if not known and number in (None, ""):
        return None
    return Slice(
        series,
        _text(data, "Modality").upper(),
        _text(data, "SeriesDescription") or f"series {_text(data, 'SeriesNumber')}".strip(),
        axes,
        float(np.dot(np.cross(axes[:3], axes[3:]), corner)) if known else None,
        int(number or 0),
    )


def dicom_pictures(name: str, content: bytes, most: int) -> Iterator[Picture]:
    """The frames of a DICOM file, one at a time.

    Args:
        name: of the file.
        content: unpacked.
        most: bytes that a frame may take.

    Raises:
        UserError: no pixels, too large, or compressed in a way that is not read.
        Exception: what pydicom raises for a damaged file.
    """
    content = _inflated(name, content, most)
    data, place = _header(name, content)
    keyword, vr, pixels = _pixel_data(name, content, data, place)
    syntax = _transfer_syntax(data)
    frames = int(data.get("NumberOfFrames") or 1)
    samples, rows, columns = int(data.get("SamplesPerPixel") or 1), int(data.Rows), int(data.Columns)
    if samples not in (1, 3):
        raise UserError(f"{name} has {samples} samples a pixel, expected 1 or 3")
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        samples = 3
    sample_bytes = 2 * (int(data.BitsAllocated) // 8) + (DECODING_COMPRESSED if syntax.is_encapsulated else DECODING)
    check_size(name, rows, columns, frames, samples * sample_bytes, most)
    options = as_pixel_options(data, transfer_syntax_uid=syntax, pixel_keyword=keyword, pixel_vr=vr)
    if syntax.is_encapsulated:
        decoded = _decompressed(name, content, pixels.start, options)
    else:
        decoded = _native(memoryview(content)[pixels], options)
    for number, values in enumerate(decoded):
        yield Picture(
            _grey(data, values),
            frame=None if frames == 1 else number,
            spacing=_spacing(data),
            reason=_reason(data),
        )


def _header(name: str, content: bytes) -> tuple[pydicom.Dataset, int]:
    """What comes before the pixels, and where it ends."""
    file = _Bounded(name, content)
    data = pydicom.dcmread(file, defer_size=MAX_ELEMENT, force=True, stop_before_pixels=True)
    place = file.tell()
    for element in data.values():
        describes = element.tag.group in (0x08, 0x18, 0x20) or 0x28_0000 <= element.tag < 0x28_2000
        if describes and isinstance(element, RawDataElement) and element.length > MAX_ELEMENT:
            raise UserError(f"{name}: element {element.tag} of {element.length:,} bytes: the header is damaged")
    return data, place


class _Bounded(io.BytesIO):
    """A file that gives up after `MAX_READS`, and gives no rest of unknown length."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(content)
        self.told, self.reads = name, 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS or size is None or size < 0:
            raise UserError(f"{self.told} has more than {MAX_READS:,} elements, or is damaged: replace or remove it")
        return super().read(size)


def _inflated(name: str, content: bytes, most: int) -> bytes:
    """Deflated DICOM (PS3.5, A.5) as Explicit VR Little Endian."""
    if DeflatedExplicitVRLittleEndian.encode() not in content[:1024]:
        return content
    start = 144 + int.from_bytes(content[140:144], "little")  # after the group of the file's meta information
    meta = content[:start].replace(
        DeflatedExplicitVRLittleEndian.encode(), ExplicitVRLittleEndian.encode().ljust(22, b"\0")
    )
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces = (unpack.decompress(content[place : place + 2**16]) for place in range(start, len(content), 2**16))
    return meta + unpacked(name, pieces, most // 3)


def _pixel_data(name: str, content: bytes, data: pydicom.Dataset, place: int) -> tuple[str, str | None, slice]:
    """The keyword and type of the element of the pixels, and where its value is."""
    little = data.original_encoding[1]
    head = content[place : place + 12].ljust(12, b"\0")
    group, element = struct.unpack_from("<HH" if little else ">HH", head)
    keyword = _KEYWORDS.get(group << 16 | element)
    if keyword is None or "Rows" not in data:
        raise UserError(f"{name} is DICOM without pixels, or damaged: remove it")
    vr = head[4:6].decode() if head[4:8] in _EXPLICIT else None
    start = place + (12 if vr else 8)
    (length,) = struct.unpack_from("<I" if little else ">I", content, start - 4)
    if not length:
        raise UserError(f"{name} is DICOM with empty pixel data: remove it")
    return keyword, vr, slice(start, start + length)


def _transfer_syntax(data: pydicom.Dataset) -> UID:
    implicit, little = data.original_encoding
    guess = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    return UID(data.file_meta.get("TransferSyntaxUID") or guess)


def _native(pixels: memoryview, options: dict[str, Any]) -> Iterator[NDArray[Any]]:
    decoder = get_decoder(options["transfer_syntax_uid"])
    return (decoder.as_array(pixels, index=number, **options)[0] for number in range(options["number_of_frames"]))


def _decompressed(name: str, content: bytes, start: int, options: dict[str, Any]) -> Iterator[NDArray[Any]]:
    """Each frame by itself, once its own header has been looked at."""
    syntax: UID = options["transfer_syntax_uid"]
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise UserError(f"{name} is DICOM in {syntax.name}, which is not read: convert it") from None
    if not decoder.is_available:
        raise UserError(f"{name} is DICOM in {syntax.name}: pip install {EXTRA} reads it")
    lacks_extra = syntax != RLELossless and any("pylibjpeg" in missing for missing in decoder.missing_dependencies)
    single = {key: value for key, value in options.items() if key != "extended_offsets"} | {"number_of_frames": 1}
    file = _Bounded(name, content)
    file.seek(start)
    size = 0
    for frame in generate_frames(file, number_of_frames=options["number_of_frames"]):
        size += len(frame)
        _check_frame(name, frame, size, options)
        try:
            values, _ = decoder.as_array(encapsulate([frame], has_bot=False), index=0, **single)
        except Exception:  # for what a decoder does not know, it raises what it raises for damaged files
            if lacks_extra:
                raise UserError(
                    f"{name} cannot be decoded from {syntax.name}: pip install {EXTRA} reads more, else replace it"
                ) from None
            raise
        yield values


def _check_frame(name: str, frame: bytes, size: int, options: dict[str, Any]) -> None:
    """Refuse a frame that is larger than the DICOM header says, or takes long to decode.

    Args:
        name: of the file.
        frame: as it is stored.
        size: bytes of all frames so far.
        options: what the header says.
    """
    rows, columns, syntax = options["rows"], options["columns"], options["transfer_syntax_uid"]
    if syntax == RLELossless:
        plain = rows * columns * options["samples_per_pixel"] * options["bits_allocated"] // 8
        if size > MAX_RLE or len(frame) > 2 * plain + 1000:
            raise UserError(f"{name} has {size:,} bytes in {syntax.name}, too many to be read: convert it")
        return
    found = jpeg2000_size(frame) if "2000" in syntax.name else jpeg_size(name, frame)
    if found != (rows, columns):
        raise UserError(
            f"{name}: a stream of {found[0]} x {found[1]} pixels in a file of {rows} x {columns}: the header is damaged"
        )


def _grey(data: pydicom.Dataset, values: NDArray[Any]) -> Pixels:
    """A frame as it is shown: padding black, rescaled, windowed, turned round where white is zero."""
    bits = int(data.get("BitsStored") or 8 * values.itemsize)
    if data.get("PhotometricInterpretation") == "PALETTE COLOR":
        values = apply_color_lut(values, data)
        bits = 8 * values.itemsize
    if values.ndim == 3:
        colours = values if values.dtype == np.uint8 and bits == 8 else to_grey(values, 0, 2**bits - 1)
        return np.asarray(Image.fromarray(colours).convert("L"))
    padding = _padding(data, values)
    with np.errstate(all="ignore"):
        if "ModalityLUTSequence" in data:
            values = apply_modality_lut(values, data).astype(np.float32)
        else:
            slope, intercept = _first(data, "RescaleSlope"), _first(data, "RescaleIntercept")
            values = values.astype(np.float32) * np.float32(1 if slope is None else slope) + np.float32(intercept or 0)
        values[padding] = np.nan
        grey = _windowed(data, values)
    if data.get("PhotometricInterpretation") == "MONOCHROME1" or data.get("PresentationLUTShape") == "INVERSE":
        grey = 255 - grey
    grey[padding] = 0
    return grey


def _padding(data: pydicom.Dataset, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a frame shows nothing (PS3.3 C.7.5.1.1.2)."""
    bits = 8 * values.itemsize
    bounds = [_first(data, key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [bound for bound in bounds if bound is not None]
    if not known or values.dtype.kind == "f":
        return np.zeros(values.shape, bool)
    if values.dtype.kind == "i":  # written as unsigned by some
        known = [bound - 2.0**bits if bound >= 2.0 ** (bits - 1) else bound for bound in known]
    return np.asarray((values >= min(known)) & (values <= max(known)))


def _windowed(data: pydicom.Dataset, values: NDArray[np.float32]) -> Pixels:
    """Values through the first window (PS3.3 C.11.2.1), else through the VOI LUT, else by percentiles.

    A window that shows next to nothing of the values, or leaves few greys of them, is passed over.
    """
    darkest, brightest = contrast(values)
    centre, width = _first(data, "WindowCenter"), _first(data, "WindowWidth")
    function = _text(data, "VOILUTFunction").upper()
    linear = function not in ("SIGMOID", "LINEAR_EXACT")
    if centre is not None and width is not None and width > linear:
        low, high = (centre - linear / 2 + sign * (width - linear) / 2 for sign in (-1, 1))
        if min(high, brightest) - max(low, darkest) >= LEAST_SHOWN * (high - low):
            if function == "SIGMOID":
                return to_grey(1 / (1 + np.exp(-4 * (values - centre) / width)), 0, 1)
            return to_grey(values, low, high)
    if data.get("VOILUTSequence"):
        shown = apply_voi(np.nan_to_num(values, nan=darkest).round().astype(np.int32), data)
        return to_grey(shown, 0, 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    return to_grey(values, darkest, brightest)


def _spacing(data: pydicom.Dataset) -> float | None:
    """Millimetres from a frame to the next, as classic or enhanced DICOM has it; None where unknown."""
    # A damaged list leaves the pixels as they are.
    with contextlib.suppress(Exception):
        shared = data.get("SharedFunctionalGroupsSequence")
        spacing = _first(shared[0].PixelMeasuresSequence[0] if shared else data, "SpacingBetweenSlices")
        return abs(spacing) if spacing else None
    return None


def _first(data: pydicom.Dataset, keyword: str) -> float | None:
    """The first of several values, or the only one; None where there is none or it is no number."""
    value = data.get(keyword)
    if isinstance(value, pydicom.multival.MultiValue):
        value = value[0] if value else None
    number = None if value in (None, "") else float(value)
    return number if number is not None and np.isfinite(number) else None


def _text(data: pydicom.Dataset, keyword: str) -> str:
    return one_line(str(data.get(keyword) or ""))


def _reason(data: pydicom.Dataset) -> str | None:
    """Why a header says that this is no MRI of a brain."""
    modality, body = _text(data, "Modality"), _text(data, "BodyPartExamined")
    if modality.upper() not in ("", MRI):
        return f"modality {modality}"
    words = body.upper().replace("_", " ")
    return f"body part {body}" if _NO_HEAD.search(words) and not _HEAD.search(words) else None
