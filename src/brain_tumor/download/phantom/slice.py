"""One slice of the phantom, as it lies in its file: the head, the tumour, then size, place, brightness and noise."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from brain_tumor.data.annotations import Outline
from brain_tumor.data.drawing import Grey, Points, blurred
from brain_tumor.data.images import Pixels
from brain_tumor.download.phantom.anatomy import paint_head
from brain_tumor.download.phantom.canvas import SIDE, Head, Patient
from brain_tumor.download.phantom.plan import PhantomFile, Stream
from brain_tumor.download.phantom.tumours import border_of, paint_tumour

SHORTEST, LONGEST = 180, 640
"""Pixels of the longer side of an original."""


@dataclass(frozen=True)
class _Frame:
    """How a slice lies in its published file: nothing here depends on the class.

    Attributes:
        width: of the file, in pixels.
        height: of the file, in pixels.
        matrix: (2, 3), from the drawing's pixels to the file's.
        gain: factor on the intensities.
        floor: grey value of the air.
        grain: standard deviation of the noise, as a share of the grey scale.
        noise: stream of the noise.
    """

    width: int
    height: int
    matrix: Points
    gain: float
    floor: float
    grain: float
    noise: Generator

    @classmethod
    def drawn(cls, seed: int, patient: int, plane: int, number: int) -> "_Frame":
        """Size, place and brightness for all slices of a view; a little turn and shift for each."""
        view = np.random.default_rng([seed, Stream.FRAME, patient, plane])
        own = np.random.default_rng([seed, Stream.FRAME, patient, plane, 1 + number])
        longer = view.integers(SHORTEST, LONGEST + 1)
        aspect = float(np.exp(view.uniform(-0.22, 0.22)))
        width, height = round(longer * min(1, aspect)), round(longer / max(1, aspect))
        scale = min(width, height) / SIDE * view.uniform(0.86, 1.0)
        turn = np.radians(view.uniform(-4, 4) + own.uniform(-1.2, 1.2))
        mirror = view.choice([-1.0, 1.0])
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (mirror, 1)
        centre = np.array([width, height]) * (0.5 + view.uniform(-0.03, 0.03, 2) + own.uniform(-0.006, 0.006, 2))
        shift = centre - linear @ np.array([SIDE, SIDE]) / 2
        return cls(
            width,
            height,
            np.column_stack([linear, shift]),
            gain=view.uniform(0.9, 1.1) * own.uniform(0.97, 1.03),
            floor=view.uniform(0, 0.05),
            grain=view.uniform(0.008, 0.03),
            noise=own,
        )


def draw_slice(file: PhantomFile, seed: int) -> tuple[Pixels, Outline | None]:
    """The picture of a slice at its published size, and the tumour's outline in it."""
    patient_number, plane, number = file.place
    shared = np.random.default_rng([seed, Stream.PATIENT, patient_number])
    view = np.random.default_rng([seed, Stream.VIEW, patient_number, plane])
    own = np.random.default_rng([seed, Stream.SLICE, patient_number, plane, number])
    patient = _draw_patient(shared)
    # A pituitary tumour shows only in slices through the sella; the others go through it often enough not to tell.
    through_sella = view.random() < 0.65 or file.label == "pituitary"
    head = Head(patient, view, own, side=1 - 2 * (number % 2))
    brain = paint_head(head, file.plane, through_sella)
    border = None
    if file.label != "notumor":
        tumour = paint_tumour(head, brain, file.label, file.plane)
        border = border_of(tumour)
    image = head.image * (1 + 0.08 * head.texture(70))  # the receiving coil is not equally near everywhere
    if file.plane != "axial":
        image *= _fading_downwards()
    return _publish(image, border, _Frame.drawn(seed, patient_number, plane, number))


def _draw_patient(rng: Generator) -> Patient:
    white = rng.uniform(0.36, 0.47)
    return Patient(
        stretch=(rng.uniform(0.92, 1.03), rng.uniform(0.92, 1.03)),
        ventricles=rng.uniform(0.75, 1.35),
        tissue={
            "white": white,
            "grey": white * rng.uniform(0.68, 0.84),
            "fluid": rng.uniform(0.08, 0.16),
            "scalp": rng.uniform(0.5, 0.68),
            "muscle": rng.uniform(0.2, 0.3),
        },
        sulci=rng.uniform(0.3, 1.0),
    )


def _fading_downwards() -> Grey:
    """(SIDE, 1): 1 down to the face, then less, as the neck leaves the coil."""
    rows = np.linspace(-1, 1, SIDE, dtype=np.float32)[:, None]
    return np.asarray(np.clip((1.02 - rows) / 0.5, 0, 1) ** 0.8, np.float32)


def _publish(image: Grey, border: Points | None, frame: _Frame) -> tuple[Pixels, Outline | None]:
    """Place a drawing in its file: geometry, brightness, noise, 8 bits."""
    size = (frame.width, frame.height)
    scale = float(np.sqrt(abs(np.linalg.det(frame.matrix[:, :2]))))
    sharp = blurred(image, max(0.7, 0.5 / scale))  # no finer than the file's own pixels
    placed = cv2.warpAffine(sharp, frame.matrix, size, flags=cv2.INTER_CUBIC)
    values = frame.floor + placed * frame.gain * (1 - frame.floor)
    values += frame.noise.standard_normal(values.shape, np.float32) * np.float32(frame.grain)
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    if border is None:
        return pixels, None
    moved = border @ frame.matrix[:, :2].T + frame.matrix[:, 2]
    return pixels, (moved + 0.5) / size
