"""JPEG, PNG, TIFF, BMP and WebP to grey pictures."""

import contextlib
import ctypes
import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError, _imaging

from brain_tumor.data.formats.headers import TIFF_KIND, TIFF_PHOTOMETRIC, check_chunks, jpeg_size, tiff_pages
from brain_tumor.data.formats.pixels import Picture, Pixels, check_size, contrast, to_grey
from brain_tumor.errors import UserError

FORMATS = ("BMP", "JPEG", "PNG", "TIFF", "WEBP")
"""As Pillow names them; it reads others too, some with the help of other programs."""

DECODING, DECODING_WIDE, DECODING_WEBP = 12, 18, 20
"""Bytes that a pixel takes while it is read: with up to 8 bits a channel, with more, and in WebP with its canvases."""

MAX_EXIF = 2**20
"""Bytes of EXIF that are looked at; a JPEG file holds 65,533 at most."""

_NO_PAGE = 0b101  # bits of `TIFF_KIND`: a smaller copy of another page, and a mask

# Pillow warns above a limit of its own, where `check_size` refuses, and of odd values in unused parts of a file.
warnings.filterwarnings("ignore", module=r"PIL\b")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# libtiff writes to stderr by itself. Where Pillow holds it without its names, it goes on doing so.
with contextlib.suppress(AttributeError, OSError):
    _pillow = ctypes.CDLL(_imaging.__file__)
    _pillow.TIFFSetErrorHandler(None)
    _pillow.TIFFSetWarningHandler(None)


def is_raster(head: bytes | bytearray) -> bool:
    """Whether a file begins as JPEG, PNG, TIFF, BMP or WebP does."""
    return (
        head[:4] in (b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        or head[:3] == b"\xff\xd8\xff"
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and head[15:18] == b"\0\0\0")
    )


def raster_pictures(name: str, content: bytes | bytearray, most: int) -> Iterator[Picture]:
    """The picture in a raster file, or one a page of a TIFF file and one a frame of an animation.

    Smaller copies of pages and masks are passed over, and previews in a JPEG file. More than 8 bits a grey are scaled
    by percentiles.

    Raises:
        UserError: of no known format, or too large.
        Exception: what Pillow raises for a damaged file.
    """
    pages: list[dict[int, int]] = []
    if content[:2] == b"\xff\xd8":
        jpeg_size(name, content)
    elif content[:2] in (b"II", b"MM"):
        pages = tiff_pages(name, content)
    elif content[:4] in (b"\x89PNG", b"RIFF"):
        check_chunks(name, content)
    with _opened(name, content) as image:
        if image.tile and image.tile[0].codec_name == "bmp_rle":  # decoded by Python, without a bound
            raise UserError(f"{name} is run-length coded BMP, which is not read: save it as PNG")
        if pages:
            numbers = [number for number, page in enumerate(pages) if not page.get(TIFF_KIND, 0) & _NO_PAGE] or [0]
        else:
            frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
            check_size(name, image.height, image.width, frames, 1, most)
            numbers = list(range(frames))
        for number in numbers:
            image.seek(number)
            wide = DECODING_WIDE if image.mode[0] in "IF" else DECODING_WEBP if image.format == "WEBP" else DECODING
            check_size(name, image.height, image.width, len(numbers), wide, most)
            inverted = bool(pages) and pages[number].get(TIFF_PHOTOMETRIC) == 0
            yield Picture(grey_of(image, inverted), number if len(numbers) > 1 else None)


def _opened(name: str, content: bytes | bytearray) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if content[:2] not in (b"II", b"MM"):
            raise
        raise UserError(
            f"{name} is damaged, or TIFF of a kind that is not read, as floats of 16 and 64 bits: save it as PNG"
        ) from None


def grey_of(image: Image.Image, white_is_zero: bool = False) -> Pixels:
    """Luminance in 8 bits; wider greys are scaled by percentiles, transparency is ignored.

    Colour and transparency are dropped before anything can see them, because in the main data set the colour mode goes
    with the class.

    Args:
        image: decoded or not.
        white_is_zero: of wider greys; Pillow turns round the others.
    """
    if image.mode[0] in "IF":
        values = np.asarray(image)
        pixels = to_grey(values, *contrast(values))
        return 255 - pixels if white_is_zero else pixels
    if image.mode in ("P", "PA", "LA", "RGBA"):
        image = image.convert("RGBA").convert("RGB")
    return np.asarray(_upright(image.convert("L")))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says."""
    # Damaged EXIF says nothing of the pixels; for it Pillow lets all kinds of exceptions through.
    with contextlib.suppress(Exception):
        if len(image.info.get("exif", b"")) < MAX_EXIF:
            return ImageOps.exif_transpose(image)
    return image
