"""Pictures as the search for duplicates looks at them: whole and in the frame of the head, crops, and affine maps."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from brain_tumor.data.images import Pixels, head_mask

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]

SIZE = 96
"""Pixels a side at which two pictures are compared."""

LOOKS = 3
"""At each picture, see `looks_at`."""

HALF = SIZE // 2
"""Pixels a side at which most of the unlike pairs are told."""

VIEW = 24
"""Pixels a side of the coarse picture that the search rests on."""

VIEW_BLUR = 1.5
"""Standard deviation in pixels of `HALF`, of what is seen at `VIEW`: as far as a crop of 3 % moves the border."""

VIEWS = (
    (0.0, 0.0, 0.0, 0.0),
    (0.035, 0.035, 0.035, 0.035),
    (0.08, 0.08, 0.08, 0.08),
    *(tuple(0.06 * (side == cut) for side in range(4)) for cut in range(4)),
)
"""What is cut off left, top, right and bottom, in shares of the side."""

FLIPS = ((1, 1), (1, -1), (-1, 1), (-1, -1))
"""Steps down and to the right by which a picture is read: as it is, mirrored, upside down, turned by half a turn."""

_BLOCK = 1024  # images that are worked on at a time, for the sake of memory
_READ_SIDE = 256  # pixels of the longer side that both looks are scaled from
_LARGEST_NOISE = 24  # grey values between which a border of one grey varies
_LEAST_HEAD = 0.2  # share of the picture; a smaller find is a caption or a part of the head
_LEAST_FILLED = 0.6  # share of its frame; heads fill two thirds and more


def looks_at(grey: Pixels, side: int = SIZE) -> Pixels:
    """(3, side, side): a picture whole, what the frame of its head shows, and its content; each squeezed to a square.

    The content is the picture without a border of one grey. The frame of the head has no margin, so that a crop to the
    head leaves it nearly where it is; where no head stands out it is that of the content.

    Args:
        grey: (height, width), grey values 0 to 255.
        side: pixels a side.
    """
    scale = _READ_SIDE / max(grey.shape)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in grey.shape[::-1]]
        grey = cast(Pixels, cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
    content = _without_border(grey)
    return np.stack([_squeezed(shown, side) for shown in (grey, _head(content), content)])


def _squeezed(grey: Pixels, side: int) -> Pixels:
    return cast(Pixels, cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA))


def _without_border(grey: Pixels) -> Pixels:
    """The picture between the first and the last of its rows and columns that are not of one grey."""
    for _ in range(2):  # rows, then columns
        varied = np.flatnonzero(grey.max(1) - grey.min(1) > _LARGEST_NOISE)
        grey = (grey[varied[0] : varied[-1] + 1] if len(varied) else grey).T
    return np.ascontiguousarray(grey)


def _head(grey: Pixels) -> Pixels:
    """What the frame of the head shows; the whole picture where no head stands out."""
    mask = head_mask(grey)
    left, top, width, height = cv2.boundingRect(mask)
    if width * height < _LEAST_HEAD * mask.size or mask.sum() < _LEAST_FILLED * width * height:
        return grey
    down, right = grey.shape[0] / mask.shape[0], grey.shape[1] / mask.shape[1]
    rows = slice(round(top * down), round((top + height) * down))
    return grey[rows, round(left * right) : round((left + width) * right)]


def framed(images: Pixels, views: Sequence[tuple[float, ...]]) -> Pixels:
    """(images, views, VIEW, VIEW): each picture, blurred, seen through each frame."""
    maps = frame_maps(views)
    result = np.empty((len(images), len(views), VIEW, VIEW), np.uint8)

    def fill(rows: slice) -> None:
        for row in range(rows.start, rows.stop):
            soft = blurred(halved(images[row]), VIEW_BLUR)
            result[row] = seen_through([soft] * len(maps), maps, VIEW)

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, blocks(len(images), _BLOCK // 8)))
    return result


def flipped(images: Any, flip: int) -> Any:
    """(…, side, side): read by the steps of `FLIPS`."""
    down, right = FLIPS[flip]
    return images[..., ::down, ::right]


def frame_maps(views: Sequence[tuple[float, ...]]) -> Floats:
    """(views, 2, 3): affine maps from pixels of a view to pixels of a picture of `HALF`."""
    cuts = np.array(views, np.float32)
    scale = (1 - cuts[:, :2] - cuts[:, 2:]) * HALF / VIEW
    maps = np.zeros((len(views), 2, 3), np.float32)
    maps[:, [0, 1], [0, 1]] = scale
    maps[:, :, 2] = cuts[:, :2] * HALF + scale / 2 - 0.5
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


def blurred(image: Any, sigma: float) -> Pixels:
    return cast(Pixels, cv2.GaussianBlur(image, (0, 0), sigma))


def stored(shape: tuple[int, ...]) -> Pixels:
    """Pixels in a file without a name, which goes when they go: they need no memory of their own."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=(max(shape[0], 1), *shape[1:]))[: shape[0]]


def blocks(length: int, size: int = _BLOCK) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
