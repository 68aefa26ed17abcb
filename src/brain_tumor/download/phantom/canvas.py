"""The canvas with one slice through a drawn head on it, in units of the head."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from brain_tumor.data.drawing import Grey, Points, blurred, depth_inside, fill, noise, smooth_curve

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
        shared, own = noise(size, self.view, SIDE), noise(size, self.own, SIDE)
        return shared * np.float32(np.sqrt(1 - renewed**2)) + own * np.float32(renewed)

    def outline(self, points: Sequence[tuple[float, float]]) -> Grey:
        """A closed smooth shape through points, a little different for each patient and slice."""
        moved = np.array(points) + self.view.normal(0, 0.014, (len(points), 2))
        moved += self.own.normal(0, 0.007, (len(points), 2))
        return fill(self.pixels(smooth_curve(moved)), 0.8, SIDE)

    def oval(self, x: float, y: float, width: float, height: float, turn: float = 0.0) -> Grey:
        """An ellipse with half axes `width` and `height`, turned by `turn` degrees."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        shape = np.stack([width * np.cos(angle), height * np.sin(angle)], axis=1)
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        return fill(self.pixels(shape @ np.array([[cos, sin], [-sin, cos]]) + (x, y)), 1.0, SIDE)


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
