"""Brushes: smooth shapes, noise and distances, in pixels; what phantom and synthetic tumours are drawn with."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Grey = NDArray[np.float32]
"""Intensities, 0 to 1; as a mask, the share of each pixel that is covered."""

Points = NDArray[np.float64]
"""(points, 2): x to the right and y down."""


def fill(points: Points, blur: float, side: int) -> Grey:
    """(side, side): the inside of a closed curve through points in pixels, its edge blurred by `blur` pixels."""
    mask = np.zeros((side, side), np.float32)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1.0, shift=4)
    return blurred(mask, blur)


def smooth_curve(points: Points, steps: int = 8) -> Points:
    """A closed Catmull-Rom spline through points."""
    before, after, later = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (before, points, after, later))
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return curve.reshape(-1, 2)


def noise(size: float, rng: Generator, side: int) -> Grey:
    """(side, side): Gaussian noise with blobs of `size` pixels, mean 0 and standard deviation 1."""
    coarse = max(1, int(size / 3))  # drawn small and enlarged: a wide blur at full size takes most of the time
    small = rng.standard_normal((side // coarse + 8,) * 2, np.float32)
    smooth = blurred(small, size / coarse)
    field = cv2.resize(smooth, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def blurred(image: Grey, width: float) -> Grey:
    """An image after a Gaussian blur with a standard deviation of `width` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), width), np.float32)


def depth_inside(mask: NDArray[np.bool_]) -> Grey:
    """Pixels from each point of a mask to its edge, 0 outside."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def above(value: Grey, threshold: Grey) -> Grey:
    """1 where a distance in pixels lies above a threshold, 0 where below, with a soft edge."""
    return np.asarray(np.clip(value - threshold + 0.5, 0, 1), np.float32)


def ragged_circle(x: float, y: float, radius: float, raggedness: float, shared: Generator, own: Generator) -> Points:
    """A closed curve about a point in pixels: a circle whose radius wavers by the share `raggedness`.

    Most of the waves come from `shared`, and slices of one patient have it in common; the rest from `own`.
    """
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = np.arange(2, 10)
    phases = shared.uniform(0, 2 * np.pi, len(waves)) + own.normal(0, 0.5, len(waves))
    waver = (np.cos(angle[:, None] * waves + phases) / np.sqrt(waves)).sum(axis=1)
    reach = radius * (1 + raggedness * waver)
    return np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1)
