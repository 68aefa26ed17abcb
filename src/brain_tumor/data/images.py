"""The only place where a file becomes pixels."""

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from brain_tumor.errors import UserError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: no MRI slice has as many, and a small file can decode to gigabytes."""

# Pillow warns above a limit of its own; such a picture is refused here, in one line.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def read_image(path: Path, size: int) -> Pixels:
    """Read a picture as one channel of 8 bits, scaled to a square.

    Colour and transparency are dropped before anything can see them, because in this data set the colour mode goes
    with the class.

    Args:
        path: JPEG, PNG or any other format that Pillow reads.
        size: pixels a side of the result; the aspect ratio is not kept.

    Returns:
        (size, size), grey values 0 to 255.

    Raises:
        UserError: no such file, no image, cut off, empty, or larger than `MAX_PIXELS`.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{path}: {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read")
            grey = _grey(image)
            return np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0))
    except FileNotFoundError:
        raise UserError(f"{path} is not there") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder, expected an image: name a file or remove it") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "is empty" if path.is_file() and path.stat().st_size == 0 else f"cannot be read as an image ({error})"
        raise UserError(f"{path} {' '.join(reason.split())}: replace or remove it") from None


def read_images(paths: Sequence[Path], size: int, progress: Any = iter) -> Pixels:
    """Read many pictures in parallel, in order.

    Args:
        paths: the files.
        size: pixels a side.
        progress: wraps the iterable of results, for example a `tqdm` bar.

    Returns:
        (images, size, size), grey values 0 to 255.

    Raises:
        UserError: as `read_image`, for the first file that cannot be read.
    """
    images = np.empty((len(paths), size, size), np.uint8)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results: Iterable[Pixels] = pool.map(lambda path: read_image(path, size), paths)
        for row, image in enumerate(progress(results)):
            images[row] = image
    return images


def _grey(image: Image.Image) -> Image.Image:
    """Luminance in 8 bits; 16-bit greys are scaled by their own range, transparency is ignored."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        low, high = values.min(), values.max()
        return Image.fromarray(((values - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8))
    if image.mode in ("P", "PA", "LA", "RGBA"):
        image = image.convert("RGBA").convert("RGB")
    return image.convert("L")
