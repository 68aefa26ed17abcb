"""Pictures as the search for copies looks at them: sizes, frames that crop and move, and affine maps."""

import tempfile
from collections.abc import Iterator, Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

SIZE = 96
"""Pixels a side at which two pictures are compared."""

HALF = SIZE // 2
"""Pixels a side at which most of the unlike pairs are told."""

VIEW = 24
"""Pixels a side of the coarse picture that the search rests on."""

VIEW_BLUR = 1.5
"""Standard deviation in pixels of `HALF`, of what is seen at `VIEW`: as far as a crop of 3 % moves the border."""

VIEWS = (
    (0.0, 0.0, 0.0),
    (0.04, 0.0, 0.0),
    *((0.02, x, y) for x in (-0.025, 0.025) for y in (-0.025, 0.025)),
    *((0.025, 0.025 * x, 0.025 * y) for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1))),
)
"""Margin cut off each side, and how far the frame is then moved, in shares of the side."""

FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Steps down and to the right by which a picture is read: as it is, mirrored, upside down, turned by half a turn."""

_BLOCK = 1024  # images that are worked on at a time, for the sake of memory


def framed(images: Pixels, views: Sequence[tuple[float, float, float]]) -> Pixels:
    """(images, views, VIEW, VIEW): each picture, blurred, seen through each frame."""
    maps = frame_maps(views)
    result = np.empty((len(images), len(views), VIEW, VIEW), np.uint8)
    for row, image in enumerate(images):
        soft = blurred(halved(image), VIEW_BLUR)
        result[row] = seen_through([soft] * len(maps), maps, VIEW)
    return result


def flipped(images: Pixels, flip: int) -> Pixels:
    """(…, side, side): read by the steps of `FLIPS`."""
    down, right = FLIPS[flip]
    return images[..., ::down, ::right]


def frame_maps(views: Sequence[tuple[float, float, float]]) -> Floats:
    """(views, 2, 3): affine maps from pixels of a view to pixels of a picture of `HALF`."""
    margin, right, down = np.array(views, np.float32).T
    scale = (1 - 2 * margin) * HALF / VIEW
    maps = np.zeros((len(views), 2, 3), np.float32)
    maps[:, 0, 0] = maps[:, 1, 1] = scale
    maps[:, :, 2] = np.stack([margin + right, margin + down], 1) * HALF + scale[:, None] / 2 - 0.5
    return maps


def seen_through(images: Sequence[Pixels] | Pixels, maps: Floats, side: int) -> Pixels:
    """(images, side, side): each picture through its map; beyond the border the border goes on."""
    result = np.empty((len(maps), side, side), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for row, frame in enumerate(maps):
        result[row] = cv2.warpAffine(images[row], frame, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return result


def composed(outer: Floats, inner: Floats) -> Floats:
    """(maps, 2, 3): first `inner`, then `outer`."""
    result: Floats = outer[:, :, :2] @ inner
    result[:, :, 2] += outer[:, :, 2]
    return result


def rescaled(maps: Floats, to: float, by: float) -> Floats:
    """The same maps into pictures of `to` times and from pictures of `by` times the side.

    Pixels are counted from their centres, so that the corner is at -1/2.
    """
    result = maps.copy()
    result[:, :, :2] *= to / by
    result[:, :, 2] = (maps[:, :, 2] - maps[:, :, :2].sum(2) / 2 + 0.5) * to + result[:, :, :2].sum(2) / 2 - 0.5
    return result


def halved(image: Pixels) -> Pixels:
    return cast(Pixels, cv2.resize(image, (HALF, HALF), interpolation=cv2.INTER_AREA))


def blurred(image: Pixels, sigma: float) -> Pixels:
    return cast(Pixels, cv2.GaussianBlur(image, (0, 0), sigma))


def stored(shape: tuple[int, ...]) -> Pixels:
    """Pixels in a file without a name, which goes when they go: they need no memory of their own."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=(max(shape[0], 1), *shape[1:]))[: shape[0]]


def blocks(length: int, size: int = _BLOCK) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
