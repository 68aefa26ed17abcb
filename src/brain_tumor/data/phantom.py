"""The built-in data set: drawn brains with known tumours, copies and patients.

It needs no download and it is hard in the ways that the published set is: several slices of a patient look alike, a
third of the test images has a copy in Training, every patient may be in both folders, two files lie in the wrong
folder, and the files have all colour modes. Unlike there, neither mode nor size, border or view tells the class:
they are drawn from a random stream of their own.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from brain_tumor.data.annotations import (
    FOLDS,
    OUTLINE_COLUMNS,
    OUTLINES_FILE,
    SLICE_COLUMNS,
    SLICES_FILE,
    Outline,
    format_outline,
)
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, CLASSES, TESTING, TRAINING
from brain_tumor.data.images import Pixels

Grey = NDArray[np.float32]
"""Intensities, 0 to 1; as a mask, the share of each pixel that is covered."""

Points = NDArray[np.float64]
"""(points, 2): x to the right and y down."""

PLANES = ("axial", "coronal", "sagittal")
SLICES_PER_PLANE = 2
MIN_PATIENTS = 16

ORIGINAL = "original"
COPY_KINDS = ("equal", "recompressed", "resized", "mirrored", "adjusted")
"""Byte for byte; JPEG of a lower quality; other size; mirror image; a little cropped, other brightness and contrast."""

MODES = ("L", "RGB", "L", "RGB", "RGBA", "P")
"""Colour modes of the files, by their share. L and RGB are JPEG, RGBA and P are PNG."""

_TEST_SHARE = 0.22  # of the slices, before copies are added
_LEAK_SHARE = 0.36  # of the slices in Testing, that get a copy in Training
_TRAIN_COPY_SHARE = 0.28
_TEST_COPY_SHARE = 0.08

_SIDE = 320  # pixels a side of the square that a head is drawn in; it spans -1 to 1
_SHORTEST, _LONGEST = 180, 640  # pixels of a file's longer side

# Each place that needs chance has a stream of its own, so that no choice of one shows in another.
_PLAN, _FRAME, _PATIENT, _VIEW, _SLICE, _FILE = range(6)


@dataclass(frozen=True)
class PhantomFile:
    """One file of the set, and the truth about it.

    Attributes:
        path: relative to the set's folder.
        label: the true class; the folder's, but for the two files with a wrong label.
        patient: name of the patient.
        fold: 1 to `FOLDS`, the same for all files of a patient.
        plane: one of `PLANES`.
        number: which of the patient's slices in this plane, from 0.
        kind: `ORIGINAL`, or how the file was copied from the original, one of `COPY_KINDS`.
        mode: colour mode of the file, as Pillow names it.
    """

    path: str
    label: str
    patient: str
    fold: int
    plane: str
    number: int
    kind: str
    mode: str

    @property
    def slice(self) -> str:
        """Identifier that the file shares with its copies, and with nothing else."""
        return f"{self.patient}-{self.plane}-{self.number}"

    @property
    def part(self) -> str:
        """Published folder, `TRAINING` or `TESTING`."""
        return self.path.split("/")[0]

    @property
    def folder(self) -> str:
        """Class by the folder."""
        return self.path.split("/")[1]


def write_phantom(folder: Path, seed: int, patients: int = 60) -> None:
    """Draw the set: `Training/`, `Testing/` with a folder a class, and `annotations/` with the truth.

    The same seed gives the same bytes.

    Args:
        folder: where the set goes; made if it is not there, else best empty.
        seed: of everything random.
        patients: a quarter for each class; about eight images a patient.

    Raises:
        ValueError: fewer than `MIN_PATIENTS` patients.
    """
    files = plan_phantom(seed, patients)
    outlines: dict[str, Outline] = {}
    for copies in _by_slice(files):
        outlines |= _write_slice(folder, copies, seed)
    annotations = folder / ANNOTATIONS_FOLDER
    annotations.mkdir(parents=True, exist_ok=True)
    files = sorted(files, key=lambda file: file.path)
    slices = [
        (file.path, file.slice, int(file.kind == "mirrored"), file.patient, file.label, file.fold) for file in files
    ]
    borders = [(file.path, format_outline(outlines[file.path])) for file in files if file.path in outlines]
    _write_csv(annotations / SLICES_FILE, slices, SLICE_COLUMNS)
    _write_csv(annotations / OUTLINES_FILE, borders, OUTLINE_COLUMNS)


def plan_phantom(seed: int, patients: int = 60) -> list[PhantomFile]:
    """Decide which files there are, without drawing them.

    Returns:
        The files of a slice one after the other, the original first.

    Raises:
        ValueError: fewer than `MIN_PATIENTS` patients.
    """
    if patients < MIN_PATIENTS:
        raise ValueError(f"{patients} patients, at least {MIN_PATIENTS} are needed for all classes in both folders")
    rng = np.random.default_rng([seed, _PLAN])
    files = [file for label in CLASSES for file in _class_files(label, patients, rng)]
    files = _with_kinds_and_modes(files, rng)
    files = _with_names(files, rng)
    return _with_wrong_labels(files)


# --- Plan -----------------------------------------------------------------------------------------------------------


def _class_files(label: str, patients: int, rng: Generator) -> list[PhantomFile]:
    """Originals and copies of one class; `path` holds only the part, copies have an empty kind."""
    members = range(CLASSES.index(label), patients, len(CLASSES))
    slices = [
        PhantomFile("", label, f"P{patient:03d}", 1 + order % FOLDS, plane, number, ORIGINAL, "")
        for order, patient in enumerate(members)
        for plane in PLANES
        for number in range(SLICES_PER_PLANE)
    ]
    order = rng.permutation(len(slices))
    tests = int(np.ceil(_TEST_SHARE * len(slices)))
    test = [replace(slices[index], path=TESTING) for index in order[:tests]]
    train = [replace(slices[index], path=TRAINING) for index in order[tests:]]
    leaks = round(_LEAK_SHARE * tests)
    in_test = max(1, round(_TEST_COPY_SHARE * tests))
    in_train = round(_TRAIN_COPY_SHARE * len(train))
    copies = [replace(file, path=TRAINING, kind="") for file in [*test[:leaks], *train[:in_train]]]
    copies += [replace(file, path=TESTING, kind="") for file in test[-in_test:]]
    return test + train + copies


def _with_kinds_and_modes(files: list[PhantomFile], rng: Generator) -> list[PhantomFile]:
    """Deal kinds of copies and colour modes evenly over the set, without a look at the class."""
    files = [files[index] for index in rng.permutation(len(files))]
    modes = iter(rng.permutation(np.resize(MODES, len(files))).tolist())
    originals = {file.slice: replace(file, mode=next(modes)) for file in files if file.kind == ORIGINAL}
    copied = [file for file in files if file.kind != ORIGINAL]
    copied.sort(key=lambda file: (file.part == originals[file.slice].part, file.part))  # leaks of every kind first
    copies: dict[str, list[PhantomFile]] = {}
    for index, file in enumerate(copied):
        kind, mode = COPY_KINDS[index % len(COPY_KINDS)], next(modes)
        if kind == "equal":
            mode = originals[file.slice].mode
        if kind == "recompressed" and mode not in ("L", "RGB"):
            mode = ("L", "RGB")[index % 2]
        copies.setdefault(file.slice, []).append(replace(file, kind=kind, mode=mode))
    return [file for name in sorted(originals) for file in (originals[name], *copies.get(name, []))]


def _with_names(files: list[PhantomFile], rng: Generator) -> list[PhantomFile]:
    """Numbers in random order, so that a name tells neither slice nor class."""
    numbers = rng.permutation(len(files))
    return [
        replace(file, path=f"{file.path}/{file.label}/{number:04d}{_suffix(file.mode)}")
        for file, number in zip(files, numbers, strict=True)
    ]


def _with_wrong_labels(files: list[PhantomFile]) -> list[PhantomFile]:
    """Put two meningiomas of Training among the pituitary tumours, as in the published set.

    One has a copy in the right folder, so that a search for copies can find it; only the annotations tell the other.
    """
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file.slice, []).append(file.part)
    candidates = [file for file in files if file.label == "meningioma" and file.part == TRAINING]
    with_copy = next(file for file in candidates if folders[file.slice] == [TRAINING, TRAINING])
    without = next(file for file in candidates if folders[file.slice] == [TRAINING])
    return [
        replace(file, path=file.path.replace("meningioma", "pituitary")) if file in (with_copy, without) else file
        for file in files
    ]


def _by_slice(files: Sequence[PhantomFile]) -> Iterator[list[PhantomFile]]:
    starts = [index for index, file in enumerate(files) if file.kind == ORIGINAL]
    for start, end in zip(starts, [*starts[1:], len(files)], strict=True):
        yield list(files[start:end])


# --- Files ----------------------------------------------------------------------------------------------------------


def _write_slice(folder: Path, copies: Sequence[PhantomFile], seed: int) -> dict[str, Outline]:
    """Write a slice and its copies; returns the outline of the tumour in each, if there is one."""
    pixels, outline = _draw_slice(copies[0], seed)
    original = b""
    outlines = {}
    for index, file in enumerate(copies):
        rng = np.random.default_rng([seed, _FILE, *_numbers(file), index])
        if file.kind == ORIGINAL:
            content = original = _encode(pixels, file.mode, int(rng.integers(80, 96)))
            moved = outline
        elif file.kind == "equal":
            content, moved = original, outline
        else:
            decoded = np.asarray(Image.open(io.BytesIO(original)).convert("RGB").convert("L"))
            changed, moved = _copied(decoded, outline, file.kind, rng)
            quality = int(rng.integers(45, 70) if file.kind == "recompressed" else rng.integers(80, 96))
            content = _encode(changed, file.mode, quality)
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if moved is not None:
            outlines[file.path] = moved
    return outlines


def _copied(pixels: Pixels, outline: Outline | None, kind: str, rng: Generator) -> tuple[Pixels, Outline | None]:
    """A copy that is not byte for byte, and where the outline lies in it."""
    height, width = pixels.shape
    if kind == "resized":
        factors = [value for value in (0.55, 0.7, 1.3, 1.6) if 160 <= value * max(height, width) <= _LONGEST]
        factor = float(rng.choice(factors)) * rng.uniform(0.97, 1.0)
        size = (round(width * factor), round(height * factor))
        scaled = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
        return np.asarray(scaled), outline
    if kind == "mirrored":
        return pixels[:, ::-1], None if outline is None else np.array([1, 0]) + outline * (-1, 1)
    if kind == "adjusted":
        left, right, top, bottom = np.rint(rng.uniform(0, 0.01, 4) * (width, width, height, height)).astype(int)
        cropped = pixels[top : height - bottom, left : width - right]
        values = (cropped - 128.0) * rng.uniform(0.85, 1.15) + 128 + rng.uniform(-12, 12)
        if outline is not None:
            outline = (outline * (width, height) - (left, top)) / (cropped.shape[1], cropped.shape[0])
        return values.clip(0, 255).astype(np.uint8), outline
    return pixels, outline


def _encode(pixels: Pixels, mode: str, quality: int) -> bytes:
    """The bytes of a JPEG (grey or RGB) or a PNG (RGBA or palette) with the same grey values."""
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert(mode)
    buffer = io.BytesIO()
    if _suffix(mode) == ".jpg":
        image.save(buffer, "JPEG", quality=quality)
    else:
        image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _suffix(mode: str) -> str:
    return ".jpg" if mode in ("L", "RGB") else ".png"


def _write_csv(path: Path, rows: Sequence[tuple[object, ...]], columns: tuple[str, ...]) -> None:
    pd.DataFrame(rows, columns=list(columns)).to_csv(path, index=False, lineterminator="\n")


# --- A slice --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Patient:
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


class _Head:
    """A canvas with one slice through a head; every shape is given in head units, -1 to 1.

    Attributes:
        image: (_SIDE, _SIDE), the picture so far.
        view: the stream that is the same for all slices of a patient in one plane.
        own: the stream of this slice alone.
        level: how far off the middle slice of its plane, -1 to 1.
        x: (_SIDE, _SIDE), head units to the right.
        y: (_SIDE, _SIDE), head units downwards.
    """

    def __init__(self, patient: _Patient, view: Generator, own: Generator, side: int) -> None:
        """Start black.

        Args:
            patient: what all slices share.
            view: the stream of the plane.
            own: the stream of the slice.
            side: of the plane's middle slice on which it lies, -1 or 1.
        """
        self.patient = patient
        self.image: Grey = np.zeros((_SIDE, _SIDE), np.float32)
        self.view = view
        self.own = own
        self.level = side * own.uniform(0.4, 1)
        self._scale = np.array(patient.stretch) * (1 - 0.015 * self.level)
        y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32) / _SIDE * 2 - 1
        self.x: Grey = x / np.float32(self._scale[0])
        self.y: Grey = y / np.float32(self._scale[1])

    def pixels(self, points: Sequence[tuple[float, float]] | Points) -> Points:
        """Head units to pixels of the canvas."""
        return (np.asarray(points, np.float64) * self._scale + 1) / 2 * _SIDE

    def paint(self, mask: Grey, value: float | Grey) -> None:
        """Lay a value over the picture where the mask is."""
        self.image += mask * (value - self.image)

    def texture(self, size: float, renewed: float = 0.6) -> Grey:
        """Smooth noise with mean 0 and standard deviation 1, partly that of the neighbouring slices.

        Args:
            size: of its blobs, in pixels.
            renewed: share that is this slice's own.
        """
        shared, own = _noise(size, self.view), _noise(size, self.own)
        return shared * np.float32(np.sqrt(1 - renewed**2)) + own * np.float32(renewed)

    def outline(self, points: Sequence[tuple[float, float]]) -> Grey:
        """A closed smooth shape through points, a little different for each patient and slice."""
        moved = np.array(points) + self.view.normal(0, 0.014, (len(points), 2))
        moved += self.own.normal(0, 0.007, (len(points), 2))
        return _fill(self.pixels(_smooth_curve(moved)), blur=0.8)

    def oval(self, x: float, y: float, width: float, height: float, turn: float = 0.0) -> Grey:
        """An ellipse with half axes `width` and `height`, turned by `turn` degrees."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        shape = np.stack([width * np.cos(angle), height * np.sin(angle)], axis=1)
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        return _fill(self.pixels(shape @ np.array([[cos, sin], [-sin, cos]]) + (x, y)), blur=1.0)


def _draw_slice(file: PhantomFile, seed: int) -> tuple[Pixels, Outline | None]:
    """The picture of a slice at its published size, and the tumour's outline in it."""
    patient_number, plane, number = _numbers(file)
    shared = np.random.default_rng([seed, _PATIENT, patient_number])
    view = np.random.default_rng([seed, _VIEW, patient_number, plane])
    own = np.random.default_rng([seed, _SLICE, patient_number, plane, number])
    patient = _draw_patient(shared)
    # A pituitary tumour shows only in slices through the sella; the others go through it often enough not to tell.
    through_sella = view.random() < 0.65 or file.label == "pituitary"
    head = _Head(patient, view, own, side=1 - 2 * (number % 2))
    brain = _PLANE_PAINTERS[file.plane](head, through_sella)
    border = None
    if file.label != "notumor":
        tumour = _paint_tumour(head, brain, file)
        border = _border(tumour)
    image = head.image * (1 + 0.08 * head.texture(70))  # the receiving coil is not equally near everywhere
    if file.plane != "axial":
        image *= _fading_downwards()
    return _publish(image, border, _Frame.drawn(seed, patient_number, plane, number))


def _draw_patient(rng: Generator) -> _Patient:
    white = rng.uniform(0.36, 0.47)
    return _Patient(
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
        view = np.random.default_rng([seed, _FRAME, patient, plane])
        own = np.random.default_rng([seed, _FRAME, patient, plane, 1 + number])
        longer = view.integers(_SHORTEST, _LONGEST + 1)
        aspect = float(np.exp(view.uniform(-0.22, 0.22)))
        width, height = round(longer * min(1, aspect)), round(longer / max(1, aspect))
        scale = min(width, height) / _SIDE * view.uniform(0.86, 1.0)
        turn = np.radians(view.uniform(-4, 4) + own.uniform(-1.2, 1.2))
        mirror = view.choice([-1.0, 1.0])
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * (mirror, 1)
        centre = np.array([width, height]) * (0.5 + view.uniform(-0.03, 0.03, 2) + own.uniform(-0.006, 0.006, 2))
        shift = centre - linear @ np.array([_SIDE, _SIDE]) / 2
        return cls(
            width,
            height,
            np.column_stack([linear, shift]),
            gain=view.uniform(0.9, 1.1) * own.uniform(0.97, 1.03),
            floor=view.uniform(0, 0.05),
            grain=view.uniform(0.008, 0.03),
            noise=own,
        )


def _publish(image: Grey, border: Points | None, frame: _Frame) -> tuple[Pixels, Outline | None]:
    """Place a drawing in its file: geometry, brightness, noise, 8 bits."""
    size = (frame.width, frame.height)
    scale = float(np.sqrt(abs(np.linalg.det(frame.matrix[:, :2]))))
    sharp = _blurred(image, max(0.7, 0.5 / scale))  # no finer than the file's own pixels
    placed = cv2.warpAffine(sharp, frame.matrix, size, flags=cv2.INTER_CUBIC)
    values = frame.floor + placed * frame.gain * (1 - frame.floor)
    values += frame.noise.standard_normal(values.shape, np.float32) * np.float32(frame.grain)
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    if border is None:
        return pixels, None
    moved = border @ frame.matrix[:, :2].T + frame.matrix[:, 2]
    return pixels, (moved + 0.5) / size


def _numbers(file: PhantomFile) -> tuple[int, int, int]:
    """Patient, plane and slice as whole numbers, the place of a slice in the random streams."""
    return int(file.patient[1:]), PLANES.index(file.plane), file.number


# --- Anatomy --------------------------------------------------------------------------------------------------------

_AXIAL_HEAD = ((0, -0.93), (0.32, -0.86), (0.56, -0.6), (0.7, -0.15), (0.72, 0.25), (0.58, 0.68), (0.3, 0.9),
               (0, 0.94), (-0.3, 0.9), (-0.58, 0.68), (-0.72, 0.25), (-0.7, -0.15), (-0.56, -0.6),
               (-0.32, -0.86))  # fmt: skip
_CORONAL_HEAD = ((0, -0.93), (0.38, -0.85), (0.65, -0.55), (0.72, -0.15), (0.68, 0.2), (0.62, 0.5), (0.52, 0.8),
                 (0.42, 1.1), (-0.42, 1.1), (-0.52, 0.8), (-0.62, 0.5), (-0.68, 0.2), (-0.72, -0.15), (-0.65, -0.55),
                 (-0.38, -0.85))  # fmt: skip
_CORONAL_SKULL = ((0, -0.8), (0.32, -0.73), (0.54, -0.47), (0.6, -0.12), (0.56, 0.14), (0.42, 0.29), (0.24, 0.29),
                  (0.12, 0.17), (0, 0.15), (-0.12, 0.17), (-0.24, 0.29), (-0.42, 0.29), (-0.56, 0.14), (-0.6, -0.12),
                  (-0.54, -0.47), (-0.32, -0.73))  # fmt: skip
_SAGITTAL_HEAD = ((-0.78, -0.2), (-0.7, -0.58), (-0.42, -0.85), (0.05, -0.94), (0.52, -0.8), (0.82, -0.38),
                  (0.84, 0.02), (0.7, 0.36), (0.56, 0.6), (0.54, 1.1), (-0.1, 1.1), (-0.2, 0.84), (-0.52, 0.88),
                  (-0.62, 0.74), (-0.62, 0.56), (-0.7, 0.5), (-0.68, 0.42), (-0.86, 0.3), (-0.76, 0.06))  # fmt: skip
_SAGITTAL_SKULL = ((-0.65, -0.2), (-0.58, -0.52), (-0.36, -0.74), (0.05, -0.81), (0.46, -0.69), (0.7, -0.34),
                   (0.71, 0.0), (0.56, 0.28), (0.34, 0.37), (0.16, 0.36), (0.02, 0.24), (-0.14, 0.12), (-0.34, 0.08),
                   (-0.56, 0.02))  # fmt: skip

_SELLA = {"axial": (0.0, -0.16), "coronal": (0.0, 0.2), "sagittal": (-0.13, 0.18)}
"""Where the pituitary gland lies."""


@dataclass(frozen=True)
class _Brain:
    """Where tumours may grow.

    Attributes:
        skull: (_SIDE, _SIDE), True inside it.
        depth: (_SIDE, _SIDE), pixels to the skull or to the falx, whichever is nearer.
        falx: two ends of the visible falx in head units; None where the slice runs along it.
    """

    skull: NDArray[np.bool_]
    depth: Grey
    falx: Points | None


def _paint_axial(head: _Head, through_sella: bool) -> _Brain:
    tissue, wide = head.patient.tissue, head.patient.ventricles * (1 - 0.2 * head.level)
    outer = head.outline(_AXIAL_HEAD)
    thickness = _depth(outer > 0.5)
    skull = _above(thickness, 15 + head.texture(30))
    _paint_coverings(head, outer, skull)
    falx = np.array([[0.0, -0.76], [0.0, -0.38]]) if through_sella else np.array([[0.0, -0.76], [0.0, 0.76]])
    _paint_brain(head, skull, falx)
    if through_sella:
        for side in (-1, 1):
            head.paint(_stroke(head, [(side * 0.12, -0.2), (side * 0.3, -0.26), (side * 0.55, -0.3)], 3.5), 0.1)
            head.paint(_stroke(head, [(side * 0.2, 0.33), (side * 0.38, 0.36), (side * 0.58, 0.3)], 2.5), 0.1)
        head.paint(head.oval(0, -0.15, 0.15, 0.11) * skull, tissue["fluid"])
        head.paint(head.oval(0, 0.1, 0.18, 0.14), tissue["white"])
        head.paint(head.oval(0, 0.3, 0.05 * wide, 0.045 * wide), tissue["fluid"])
        head.paint(head.oval(0, -0.15, 0.035, 0.03), 0.62)
        for x, y in ((0.09, -0.12), (-0.09, -0.12), (0.0, -0.24), (0.3, -0.26), (-0.3, -0.26)):
            head.paint(head.oval(x, y, 0.014, 0.014), 0.8)
    else:
        for side in (-1, 1):
            head.paint(head.oval(side * 0.2, 0.0, 0.11, 0.2, side * 12), 0.9 * tissue["grey"])
            head.paint(head.oval(side * 0.1 * wide, -0.22, 0.05 * wide, 0.17, side * -22), tissue["fluid"])
            head.paint(head.oval(side * 0.17 * wide, 0.28, 0.055 * wide, 0.2, side * 24), tissue["fluid"])
            head.paint(head.oval(side * 0.14 * wide, 0.22, 0.02, 0.05, side * 24), 0.72)
        head.paint(head.oval(0, 0.02, 0.018 * wide, 0.12), tissue["fluid"])
    return _brain(head, skull, falx)


def _paint_coronal(head: _Head, through_sella: bool) -> _Brain:
    tissue, wide = head.patient.tissue, head.patient.ventricles * (1 - 0.2 * head.level)
    outer, skull = head.outline(_CORONAL_HEAD), head.outline(_CORONAL_SKULL)
    _paint_coverings(head, outer, skull)
    falx = np.array([[0.0, -0.78], [0.0, -0.36]])
    _paint_brain(head, skull, falx)
    for side in (-1, 1):
        head.paint(_stroke(head, [(side * 0.56, -0.04), (side * 0.4, 0.0), (side * 0.3, -0.08)], 4), 0.1)
        head.paint(head.oval(side * 0.2, -0.1, 0.1, 0.1) * skull, 0.92 * tissue["grey"])
        head.paint(head.oval(side * 0.1 * wide, -0.25, 0.1 * wide, 0.04 * wide, side * 28), tissue["fluid"])
        head.paint(head.oval(side * 0.26, 0.5, 0.14, 0.13), 0.05)
        head.paint(head.oval(side * 0.06, 0.56, 0.03, 0.15), 0.06)
        head.paint(head.oval(side * 0.1, 0.2, 0.016, 0.02), 0.1)
    head.paint(_stroke(head, [(-0.2, -0.335), (0, -0.31), (0.2, -0.335)], 5), tissue["white"] * 1.1)
    head.paint(head.oval(0, -0.08, 0.02 * wide, 0.09), tissue["fluid"])
    if through_sella:
        head.paint(head.oval(0, 0.14, 0.12, 0.045), tissue["fluid"])
        head.paint(head.oval(0, 0.21, 0.06, 0.028), 0.62)
        head.paint(head.oval(0, 0.31, 0.12, 0.07), 0.04)
    else:
        head.paint(head.oval(0, 0.12, 0.1, 0.16), tissue["white"])
    return _brain(head, skull, falx)


def _paint_sagittal(head: _Head, through_sella: bool) -> _Brain:
    tissue, wide = head.patient.tissue, head.patient.ventricles * (1 - 0.2 * head.level)
    outer, skull = head.outline(_SAGITTAL_HEAD), head.outline(_SAGITTAL_SKULL)
    _paint_coverings(head, outer, skull)
    _paint_brain(head, skull, None)
    head.paint(_stroke(head, [(0.14, 0.12), (0.4, 0.04), (0.66, 0.08)], 3.5) * skull, 0.1)
    cerebellum = head.oval(0.42, 0.19, 0.22, 0.14, -14) * skull
    leaves = 0.5 + 0.5 * np.sin(70 * np.hypot(head.x - 0.24, head.y - 0.16) + head.texture(14))
    head.paint(cerebellum, (tissue["grey"] * (0.75 + 0.4 * leaves)).astype(np.float32))
    head.paint(head.oval(-0.56, 0.28, 0.1, 0.09), 0.06)
    head.paint(head.oval(-0.45, 0.5, 0.2, 0.035, 4), 0.08)
    head.paint(head.oval(-0.4, 0.64, 0.17, 0.07, 6), 0.5)
    if through_sella:
        head.paint(_arc(head, 11, 0.33, 0.2, -0.14), tissue["white"] * 1.18)
        head.paint(_arc(head, 7 * wide, 0.26, 0.14, -0.12), tissue["fluid"])
        head.paint(head.oval(0.02, -0.08, 0.15, 0.075, 8), tissue["grey"])
        head.paint(_stroke(head, [(0.04, 0.0), (0.1, 0.2), (0.16, 0.4), (0.22, 0.7), (0.24, 1.1)], 30), 0.1)
        head.paint(_stroke(head, [(0.06, 0.0), (0.1, 0.2), (0.16, 0.4), (0.22, 0.7), (0.24, 1.1)], 19), tissue["white"])
        head.paint(head.oval(0.09, 0.17, 0.085, 0.1), tissue["white"])
        head.paint(head.oval(0.2, 0.17, 0.03 * wide, 0.06), tissue["fluid"])
        head.paint(head.oval(-0.13, 0.12, 0.08, 0.035) * skull, tissue["fluid"])
        head.paint(head.oval(-0.13, 0.18, 0.045, 0.028), 0.62)
        head.paint(head.oval(-0.26, 0.24, 0.1, 0.07, -20), 0.04)
    else:
        head.paint(_arc(head, 9 * wide, 0.26, 0.12, -0.06), tissue["fluid"])
        head.paint(head.oval(0.05, -0.0, 0.15, 0.08, 8), tissue["grey"])
        head.paint(_stroke(head, [(-0.36, 0.08), (-0.1, -0.02), (0.2, -0.1)], 4) * skull, 0.1)
    return _brain(head, skull, None)


_PLANE_PAINTERS = {"axial": _paint_axial, "coronal": _paint_coronal, "sagittal": _paint_sagittal}


def _paint_coverings(head: _Head, outer: Grey, skull: Grey) -> None:
    """Muscle and fat of the head, the bright scalp, the dark bone around the brain."""
    tissue = head.patient.tissue
    flesh = tissue["muscle"] * (1 + 0.35 * head.texture(7) + 0.25 * head.texture(18))
    head.paint(outer, np.clip(flesh, 0.05, 0.5))
    depth = _depth(outer > 0.5)
    head.paint(outer * (1 - _above(depth, 8 + head.texture(25))), tissue["scalp"])
    distance = _depth(skull < 0.5)
    head.paint(outer * (1 - _above(distance, 6 + head.texture(25))), 0.06)
    head.paint(skull, tissue["fluid"])


def _paint_brain(head: _Head, skull: Grey, falx: Points | None) -> None:
    """Grey and white matter with sulci; the cortex is what lies near fluid."""
    tissue, gaping = head.patient.tissue, head.patient.sulci
    depth = _depth(skull > 0.5)
    if falx is not None:
        depth = np.minimum(depth, _distance_to_line(head, falx))
    near_surface = np.clip(1.15 - depth / 34, 0, 1)
    sulci = np.abs(head.texture(6.5)) < (0.08 + 0.16 * gaping) * near_surface
    matter = (depth > 2.5 + gaping) & ~sulci
    cortex = np.clip((_depth(matter) - 3.5 - 0.8 * head.texture(10)) / 2, 0, 1)
    value = tissue["grey"] + (tissue["white"] - tissue["grey"]) * cortex
    value = value * (1 + 0.03 * head.texture(4) + 0.04 * head.texture(20))
    head.paint(_blurred(matter.astype(np.float32), 0.7), value.astype(np.float32))
    if falx is not None:
        head.paint(_stroke(head, falx, 1.6), 0.42)
        head.paint(head.oval(0, float(falx[0, 1]) - 0.02, 0.03, 0.03), 0.85)  # the sagittal sinus


def _brain(head: _Head, skull: Grey, falx: Points | None) -> _Brain:
    inside = skull > 0.5
    depth = _depth(inside)
    if falx is not None:
        depth = np.minimum(depth, _distance_to_line(head, falx))
    return _Brain(inside, depth, falx)


# --- Tumours --------------------------------------------------------------------------------------------------------


def _paint_tumour(head: _Head, brain: _Brain, file: PhantomFile) -> Grey:
    """Paint the tumour of a file's class; returns the mask of what is tumour."""
    if file.label == "glioma":
        return _paint_glioma(head, brain, file.plane)
    if file.label == "meningioma":
        return _paint_meningioma(head, brain, file.plane)
    return _paint_pituitary(head, file.plane)


def _paint_glioma(head: _Head, brain: _Brain, plane: str) -> Grey:
    """Inside the brain: a ragged bright rim of uneven width about a dark core, with swollen dark matter around."""
    radius = _SIDE * head.view.uniform(0.08, 0.094) * head.own.uniform(0.94, 1.06)
    hemispheres = head.y < -0.08 if plane == "sagittal" else (np.abs(head.x) > 0.22) & (head.y < 0.5)
    roomy = np.argwhere((brain.depth > 1.25 * radius) & hemispheres)
    wanted = head.pixels([(head.view.uniform(-0.55, 0.55), head.view.uniform(-0.65, 0.5))])[0]
    nearest = roomy[np.linalg.norm(roomy - wanted[::-1], axis=1).argmin()]
    y, x = nearest + head.own.normal(0, 3, 2)
    tumour = _fill(_ragged(x, y, radius, 0.075, head.view, head.own), blur=0.8) * brain.skull
    swelling = _blurred(tumour, 0.45 * radius) * (1 + 0.25 * head.texture(8))
    inside = np.where(brain.skull, np.clip(swelling, 0, 1), 0)
    head.paint(inside, head.image * np.float32(0.62))
    depth = _depth(tumour > 0.5)
    core = np.clip((depth - radius * (0.36 + 0.13 * head.texture(9))) / 3, 0, 1)
    rim = 0.85 + 0.07 * head.texture(4)
    head.paint(tumour, (rim + (0.2 + 0.05 * head.texture(4) - rim) * core).astype(np.float32))
    return tumour


def _paint_meningioma(head: _Head, brain: _Brain, plane: str) -> Grey:
    """A smooth, evenly bright ball that grows from the skull or the falx and pushes the brain away."""
    radius = _SIDE * head.view.uniform(0.07, 0.092) * head.own.uniform(0.94, 1.06)
    if brain.falx is not None and head.view.random() < 0.3:
        along = head.view.uniform(0.2, 0.9)
        side = head.view.choice([-1.0, 1.0])
        x, y = head.pixels(brain.falx[:1] * (1 - along) + brain.falx[1:] * along)[0] + (side * 0.8 * radius, 0)
    else:
        distance = _depth(brain.skull)
        sella = _SELLA[plane]
        far_from_sella = np.hypot(head.x - sella[0], head.y - sella[1]) > 0.45
        shell = (np.abs(distance - 0.75 * radius) < 1) & far_from_sella
        ring = np.argwhere(shell)
        centre = ring.mean(axis=0)
        wanted = head.view.uniform(-np.pi, np.pi)
        angles = np.arctan2(*(ring - centre).T)
        y, x = ring[np.argmin(np.abs(np.angle(np.exp(1j * (angles - wanted)))))]
    x, y = np.array([x, y]) + head.own.normal(0, 1.5, 2)
    tumour = _fill(_ragged(x, y, radius, 0.02, head.view, head.own), blur=0.8) * brain.skull
    head.paint(_widened(tumour) * brain.skull, head.patient.tissue["fluid"])
    head.paint(tumour, 0.88 + 0.025 * head.texture(6))
    return tumour


def _paint_pituitary(head: _Head, plane: str) -> Grey:
    """In the midline at the skull base: a bright round mass out of the sella, often waisted where it leaves it."""
    radius = _SIDE * head.view.uniform(0.06, 0.075) * head.own.uniform(0.94, 1.06)
    x, y = head.pixels([_SELLA[plane]])[0] + head.own.normal(0, 1.2, 2)
    lower = _fill(_ragged(x, y, radius * 0.9, 0.03, head.view, head.own), blur=0.8)
    upper = _fill(_ragged(x, y - 0.75 * radius, radius * 0.72, 0.03, head.view, head.own), blur=0.8)
    tumour = np.maximum(lower, upper) if plane != "axial" else lower
    head.paint(_widened(tumour), head.patient.tissue["fluid"])
    head.paint(tumour, 0.84 + 0.04 * head.texture(5))
    return tumour


def _ragged(x: float, y: float, radius: float, raggedness: float, shared: Generator, own: Generator) -> Points:
    """A closed curve about a point in pixels: a circle whose radius wavers by the share `raggedness`."""
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    waves = np.arange(2, 10)
    phases = shared.uniform(0, 2 * np.pi, len(waves)) + own.normal(0, 0.5, len(waves))
    waver = (np.cos(angle[:, None] * waves + phases) / np.sqrt(waves)).sum(axis=1)
    reach = radius * (1 + raggedness * waver)
    return np.stack([x + reach * np.cos(angle), y + reach * np.sin(angle)], axis=1)


def _widened(mask: Grey) -> Grey:
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)), np.float32)


def _border(tumour: Grey) -> Points:
    """The outline of a mask, in pixels of the drawing."""
    contours, _ = cv2.findContours((tumour > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    border: Points = cv2.approxPolyDP(largest, 0.5, True)[:, 0].astype(np.float64)
    return border


# --- Shapes ---------------------------------------------------------------------------------------------------------


def _noise(size: float, rng: Generator) -> Grey:
    """(_SIDE, _SIDE) Gaussian noise with blobs of `size` pixels, mean 0 and standard deviation 1."""
    coarse = max(1, int(size / 3))  # drawn small and enlarged: a wide blur at full size takes most of the time
    small = rng.standard_normal((_SIDE // coarse + 8,) * 2, np.float32)
    smooth = _blurred(small, size / coarse)
    field = cv2.resize(smooth, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def _blurred(image: Grey, width: float) -> Grey:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), width), np.float32)


def _fill(points: Points, blur: float) -> Grey:
    mask = np.zeros((_SIDE, _SIDE), np.float32)
    cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1.0, shift=4)
    return _blurred(mask, blur)


def _stroke(head: _Head, points: Sequence[tuple[float, float]] | Points, thickness: float) -> Grey:
    """A smooth line through points in head units, `thickness` pixels wide."""
    mask = np.zeros((_SIDE, _SIDE), np.float32)
    line = np.rint(head.pixels(points) * 16).astype(np.int32)
    cv2.polylines(mask, [line], False, 1.0, max(1, round(thickness)), shift=4)
    return _blurred(mask, 1.0)


def _arc(head: _Head, thickness: float, width: float, height: float, y: float) -> Grey:
    """The upper half of an ellipse about the middle of a sagittal slice."""
    angle = np.linspace(np.pi * 1.0, np.pi * 2.05, 24)
    return _stroke(head, np.stack([width * np.cos(angle), y + height * np.sin(angle)], axis=1), thickness)


def _smooth_curve(points: Points, steps: int = 8) -> Points:
    """A closed Catmull-Rom spline through points."""
    before, after, later = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (before, points, after, later))
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return curve.reshape(-1, 2)


def _fading_downwards() -> Grey:
    """(_SIDE, 1): 1 down to the face, then less, as the neck leaves the coil."""
    rows = np.linspace(-1, 1, _SIDE, dtype=np.float32)[:, None]
    return np.asarray(np.clip((1.02 - rows) / 0.5, 0, 1) ** 0.8, np.float32)


def _depth(mask: NDArray[np.bool_]) -> Grey:
    """Pixels from each point of a mask to its edge, 0 outside."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def _above(value: Grey, threshold: Grey) -> Grey:
    """1 where a distance in pixels lies above a threshold, 0 where below, with a soft edge."""
    return np.asarray(np.clip(value - threshold + 0.5, 0, 1), np.float32)


def _distance_to_line(head: _Head, ends: Points) -> Grey:
    """Pixels from each point to a straight line between two ends in head units."""
    line = np.zeros((_SIDE, _SIDE), np.uint8)
    start, end = (tuple(int(value) for value in np.rint(point)) for point in head.pixels(ends))
    cv2.line(line, start, end, 1, 1)
    return _depth(line == 0)
