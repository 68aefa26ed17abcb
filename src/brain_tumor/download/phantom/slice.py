"""One slice of the phantom, as it lies in its file: the head, the tumour, then size, place, brightness and noise."""

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
    return _publish(image, border, seed, file)


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


def _publish(image: Grey, border: Points | None, seed: int, file: PhantomFile) -> tuple[Pixels, Outline | None]:
    """Place a drawing in its file, whatever the class: geometry, brightness, noise, 8 bits.

    Size, place and brightness are those of all slices of a view, a little turn and shift is each one's own.
    """
    patient, plane, number = file.place
    view = np.random.default_rng([seed, Stream.FRAME, patient, plane])
    own = np.random.default_rng([seed, Stream.FRAME, patient, plane, 1 + number])
    longer = view.integers(SHORTEST, LONGEST + 1)
    aspect = float(np.exp(view.uniform(-0.22, 0.22)))
    size = width, height = round(longer * min(1, aspect)), round(longer / max(1, aspect))
    scale = min(size) / SIDE * view.uniform(0.86, 1.0)
    turn = np.radians(view.uniform(-4, 4) + own.uniform(-1.2, 1.2))
    mirror = view.choice([-1.0, 1.0])
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (mirror, 1)
    centre = np.array([width, height]) * (0.5 + view.uniform(-0.03, 0.03, 2) + own.uniform(-0.006, 0.006, 2))
    shift = centre - linear @ np.array([SIDE, SIDE]) / 2
    gain = view.uniform(0.9, 1.1) * own.uniform(0.97, 1.03)
    floor, grain = view.uniform(0, 0.05), view.uniform(0.008, 0.03)
    zoom = float(np.sqrt(abs(np.linalg.det(linear))))
    sharp = blurred(image, max(0.7, 0.5 / zoom))  # no finer than the file's own pixels
    placed = cv2.warpAffine(sharp, np.column_stack([linear, shift]), size, flags=cv2.INTER_CUBIC)
    values = floor + placed * gain * (1 - floor)
    values += own.standard_normal(values.shape, np.float32) * np.float32(grain)
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    return pixels, None if border is None else (border @ linear.T + shift + 0.5) / size
