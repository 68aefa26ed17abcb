"""What the drawn heads are made of: the canvas with one slice on it, smooth shapes, noise, distances."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Grey = NDArray[np.float32]
"""Intensities, 0 to 1; as a mask, the share of each pixel that is covered."""

Points = NDArray[np.float64]
"""(points, 2): x to the right and y down."""

SIDE = 320
"""Pixels a side of the square that a head is drawn in; it spans -1 to 1."""


@dataclass(frozen=True)
class Patient:
    """What all slices of a patient share.

    Attributes:
        stretch: of the head, along x and y.
        ventricles: their size, 1 on average.
        tissue: intensity of white matter, grey matter, fluid, scalp, muscle.
        sulci: how wide they gape, 0 to 1.
    """

    stretch: tuple[float, float]
    ventricles: float
    tissue: dict[str, float]
    sulci: float


class Head:
    """A canvas with one slice through a head; every shape is given in head units, -1 to 1.

    Attributes:
        image: (SIDE, SIDE), the picture so far.
        view: the stream that is the same for all slices of a patient in one plane.
        own: the stream of this slice alone.
        level: how far off the middle slice of its plane, -1 to 1.
        x: (SIDE, SIDE), head units to the right.
        y: (SIDE, SIDE), head units downwards.
    """

    def __init__(self, patient: Patient, view: Generator, own: Generator, side: int) -> None:
        """Start black.

        Args:
            patient: what all slices share.
            view: the stream of the plane.
            own: the stream of the slice.
            side: of the plane's middle slice on which it lies, -1 or 1.
        """
        self.patient = patient
        self.image: Grey = np.zeros((SIDE, SIDE), np.float32)
        self.view = view
        self.own = own
        self.level = side * own.uniform(0.4, 1)
        self._scale = np.array(patient.stretch) * (1 - 0.015 * self.level)
        y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE * 2 - 1
        self.x: Grey = x / np.float32(self._scale[0])
        self.y: Grey = y / np.float32(self._scale[1])

    def pixels(self, points: Sequence[tuple[float, float]] | Points) -> Points:
        """Head units to pixels of the canvas."""
        return (np.asarray(points, np.float64) * self._scale + 1) / 2 * SIDE

    def paint(self, mask: Grey, value: float | Grey) -> None:
        """Lay a value over the picture where the mask is."""
        self.image += mask * (value - self.image)

    def texture(self, size: float, renewed: float = 0.6) -> Grey:
        """Smooth noise with mean 0 and standard deviation 1, partly that of the neighbouring slices.

        Args:
            size: of its blobs, in pixels.
            renewed: share that is this slice's own.
        """
        shared, own = noise(size, self.view), noise(size, self.own)
        return shared * np.float32(np.sqrt(1 - renewed**2)) + own * np.float32(renewed)

    def outline(self, points: Sequence[tuple[float, float]]) -> Grey:
        """A closed smooth shape through points, a little different for each patient and slice."""
        moved = np.array(points) + self.view.normal(0, 0.014, (len(points), 2))
        moved += self.own.normal(0, 0.007, (len(points), 2))
        return fill(self.pixels(smooth_curve(moved)), blur=0.8)

    def oval(self, x: float, y: float, width: float, height: float, turn: float = 0.0) -> Grey:
        """An ellipse with half axes `width` and `height`, turned by `turn` degrees."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        shape = np.stack([width * np.cos(angle), height * np.sin(angle)], axis=1)
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        return fill(self.pixels(shape @ np.array([[cos, sin], [-sin, cos]]) + (x, y)), blur=1.0)


def stroke(head: Head, points: Sequence[tuple[float, float]] | Points, thickness: float) -> Grey:
    """A smooth line through points in head units, `thickness` pixels wide."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    line = np.rint(head.pixels(points) * 16).astype(np.int32)
    cv2.polylines(mask, [line], False, 1.0, max(1, round(thickness)), shift=4)
    return blurred(mask, 1.0)


def arc(head: Head, thickness: float, width: float, height: float, y: float) -> Grey:
    """The upper half of an ellipse about the middle of a sagittal slice."""
    angle = np.linspace(np.pi * 1.0, np.pi * 2.05, 24)
    return stroke(head, np.stack([width * np.cos(angle), y + height * np.sin(angle)], axis=1), thickness)


def distance_to_line(head: Head, ends: Points) -> Grey:
    """Pixels from each point to a straight line between two ends in head units."""
    line = np.zeros((SIDE, SIDE), np.uint8)
    start, end = (tuple(int(value) for value in np.rint(point)) for point in head.pixels(ends))
    cv2.line(line, start, end, 1, 1)
    return depth_inside(line == 0)


def fill(points: Points, blur: float, side: int = SIDE) -> Grey:
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


def noise(size: float, rng: Generator, side: int = SIDE) -> Grey:
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
