"""Pictures as a model takes them: what is read of a file, and how it is cut out, scaled and adjusted."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from brain_tumor.data.formats.decoding import pictures, read_bytes
from brain_tumor.data.formats.pixels import Pixels as Pixels
from brain_tumor.errors import UserError

_MASK_SIDE = 256
_SHARE_OF_THRESHOLD = 0.45
_LINE_WIDTH = 5  # pixels of `_MASK_SIDE`; what is thinner is no part of a head
_LEAST_HEAD = 0.2  # share of the picture; a smaller find is a caption or a part of the head
_MARGIN = 0.03  # share of the head on each side
_BLACK_FROM = 0.03  # share of the picture's side beyond the convex hull of the head


class Frame(NamedTuple):
    """A part of a picture, in shares of its width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def locate(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(points, 2), x and y in shares of the picture, to shares of this part; outside it below 0 or above 1."""
        return (points - (self.left, self.top)) / (self.right - self.left, self.bottom - self.top)


WHOLE = Frame(0.0, 0.0, 1.0, 1.0)


class Reader(BaseModel):
    """How a picture becomes pixels at model size. It travels with the model, so that prediction reads as training did.

    Attributes:
        size: pixels a side of the result; the aspect ratio is not kept.
        crop: `none`, the whole picture, or `head`, the smallest upright frame about the head: how much black a
            collection leaves around the head, and how wide its pictures are, then says nothing.
        intensities: `file`, grey values as they are, or `head`, scaled so that the 1st and the 99th percentile within
            the head become 0 and 255.
        background: `file`, as it is, or `black` beyond the head and a margin, so that noise, frames, captions and the
            grey of the air say nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[int, Field(gt=0)]
    crop: Literal["none", "head"] = "none"
    intensities: Literal["file", "head"] = "file"
    background: Literal["file", "black"] = "file"

    def prepare(self, grey: Pixels) -> tuple[Pixels, Frame]:
        """Cut out, scale, and adjust one picture.

        Args:
            grey: (height, width), grey values 0 to 255, of any size.

        Returns:
            (size, size), grey values 0 to 255; and what part of the picture they show.
        """
        if (self.crop, self.intensities, self.background) == ("none", "file", "file"):
            return self._scaled(grey, WHOLE), WHOLE
        mask = head_mask(grey)
        frame = _frame_about(mask) if self.crop == "head" else WHOLE
        pixels = self._scaled(grey, frame)
        if self.intensities == "head":
            pixels = _stretched(pixels, self._scaled(mask, frame, Image.Resampling.NEAREST))
        if self.background == "black":
            pixels = pixels * self._scaled(_with_margin(mask), frame, Image.Resampling.NEAREST)
        return pixels, frame

    def _scaled(
        self, picture: Pixels, frame: Frame, resampling: Image.Resampling = Image.Resampling.BILINEAR
    ) -> Pixels:
        """(size, size): what a frame shows of a picture."""
        height, width = picture.shape
        box = (frame.left * width, frame.top * height, frame.right * width, frame.bottom * height)
        # Two-step scaling is for large pictures; nearest pixels take one step.
        gap = 3.0 if resampling == Image.Resampling.BILINEAR else None
        return np.asarray(Image.fromarray(picture).resize((self.size, self.size), resampling, box, gap))


def read_image(path: Path, size: int) -> Pixels:
    """Read a whole picture as one channel of 8 bits, scaled to a square.

    Args:
        path: as `decode` takes it.
        size: pixels a side of the result; the aspect ratio is not kept.

    Returns:
        (size, size), grey values 0 to 255.

    Raises:
        UserError: as `decode`.
    """
    return Reader(size=size).prepare(decode(path))[0]


def read_images(paths: Sequence[Path], size: int, progress: Any = iter) -> Pixels:
    """Read many whole pictures in parallel, in order.

    Args:
        paths: the files.
        size: pixels a side.
        progress: wraps the iterable of results, for example a `tqdm` bar.

    Returns:
        (images, size, size), grey values 0 to 255.

    Raises:
        UserError: as `decode`, for the first file that cannot be read.
    """
    return prepare_images(paths, Reader(size=size), progress)[0]


def prepare_images(paths: Sequence[Path], reader: Reader, progress: Any = iter) -> tuple[Pixels, list[Frame]]:
    """Read many pictures in parallel, in order, as a model wants them.

    Args:
        paths: the files.
        reader: what is done to each.
        progress: wraps the iterable of results, for example a `tqdm` bar.

    Returns:
        (images, size, size), grey values 0 to 255; and for each what part of its picture they show.

    Raises:
        UserError: as `decode`, for the first file that cannot be read.
    """
    images = np.empty((len(paths), reader.size, reader.size), np.uint8)
    frames = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results: Iterable[tuple[Pixels, Frame]] = pool.map(lambda path: reader.prepare(decode(path)), paths)
        for row, (image, frame) in enumerate(progress(results)):
            images[row] = image
            frames.append(frame)
    return images, frames


def decode(path: Path) -> Pixels:
    """Read a picture as one channel of 8 bits, as large as it is.

    Args:
        path: a file of one picture, in any format that `pictures` reads.

    Returns:
        (height, width), grey values 0 to 255.

    Raises:
        UserError: as `read_bytes` and `pictures`, or more than one picture in the file.
    """
    first, *others = islice(pictures(str(path), read_bytes(path)), 2)
    if others:
        raise UserError(f"{path} has several pictures, expected one: save the one that is meant by itself")
    return first.grey


def image_header(path: Path) -> tuple[int, int, str]:
    """Width, height and colour mode of a picture, as Pillow names it; `I` for DICOM and other greys of many bits.

    Raises:
        UserError: as `decode`, for what Pillow does not know.
    """
    try:
        with Image.open(path) as image:  # reads no pixels
            return image.width, image.height, image.mode[0] if image.mode.startswith("I") else image.mode
    except UnidentifiedImageError:
        height, width = decode(path).shape
        return width, height, "I"


def head_mask(grey: Pixels) -> Pixels:
    """Where the head is: the largest bright part of a picture, without its holes.

    Thin lines, as of frames and captions, are no part of it.

    Args:
        grey: (height, width), grey values 0 to 255.

    Returns:
        1 in the head and 0 elsewhere, with `_MASK_SIDE` pixels on the longer side; all 1 where nothing stands out.

    Source of the threshold: Otsu, A threshold selection method from gray-level histograms, 1979. The dark parts of a
    head lie below it, so that less than half of it is used.
    """
    scale = _MASK_SIDE / max(grey.shape)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    without_lines = cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((_LINE_WIDTH, _LINE_WIDTH), np.uint8))
    soft = cv2.GaussianBlur(without_lines, (0, 0), 1)
    threshold, _ = cv2.threshold(soft, 0, 255, cv2.THRESH_OTSU)
    bright = (soft > _SHARE_OF_THRESHOLD * threshold).astype(np.uint8)
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return np.ones(small.shape, np.uint8)
    mask = np.zeros(small.shape, np.uint8)
    return np.asarray(cv2.drawContours(mask, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED), np.uint8)


def _frame_about(mask: Pixels) -> Frame:
    """The upright frame about a head, with some margin; the whole picture where what was found is too small."""
    if _is_too_small(mask):
        return WHOLE
    left, top, width, height = cv2.boundingRect(mask)
    rows, columns = mask.shape
    above, beside = _MARGIN * height, _MARGIN * width
    return Frame(
        max(0.0, (left - beside) / columns),
        max(0.0, (top - above) / rows),
        min(1.0, (left + width + beside) / columns),
        min(1.0, (top + height + above) / rows),
    )


def _with_margin(mask: Pixels) -> Pixels:
    """1 in the convex hull of a head, widened, so that neither ears nor a dark part at its border are cut off.

    1 everywhere where what was found is too small.
    """
    if _is_too_small(mask):
        return np.ones_like(mask)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(np.concatenate(outlines)), 1)
    reach = 2 * round(_BLACK_FROM * max(mask.shape)) + 1
    return np.asarray(cv2.dilate(hull, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))), np.uint8)


def _is_too_small(mask: Pixels) -> bool:
    _, _, width, height = cv2.boundingRect(mask)
    return width * height < _LEAST_HEAD * mask.size


def _stretched(pixels: Pixels, inside: Pixels) -> Pixels:
    """Grey values scaled by their percentiles where `inside` is 1; unchanged where these are equal."""
    low, high = np.percentile(pixels[inside > 0], (1, 99)) if inside.any() else (0, 255)
    if high <= low:
        return pixels
    shares = np.clip((pixels - low) / (high - low), 0, 1)
    return np.asarray((shares * 255).round(), np.uint8)
