"""The built-in data set: drawn brains with known tumours, duplicates and patients.

It needs no download and is hard in the ways in which the published set is, see `plan.py`. Unlike there, neither mode
nor size, border or view tells the class: they come from a random stream of their own.
"""

import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from PIL import Image

from brain_tumor.data.annotations import (
    OUTLINE_COLUMNS,
    OUTLINES_FILE,
    SLICE_COLUMNS,
    SLICES_FILE,
    Outline,
    format_outline,
)
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER
from brain_tumor.data.images import Pixels
from brain_tumor.download.phantom.plan import ORIGINAL, PhantomFile, Stream, plan_phantom, suffix
from brain_tumor.download.phantom.slice import LONGEST, draw_slice
from brain_tumor.files import write_csv


def write_phantom(folder: Path, seed: int, patients: int = 60, clean: bool = False) -> None:
    """Draw the set: `Training/`, `Testing/` with a folder a class, and `annotations/` with the truth.

    The same seed gives the same bytes.

    Args:
        folder: where the set goes; made if it is not there, else best empty.
        seed: of everything random.
        patients: a quarter for each class; about eight images a patient.
        clean: without duplicates and wrong labels.

    Raises:
        ValueError: fewer than `MIN_PATIENTS` patients.
    """
    files = plan_phantom(seed, patients, clean)
    outlines: dict[str, Outline] = {}
    for _, duplicates in groupby(files, key=lambda file: file.slice):
        outlines |= _write_slice(folder, list(duplicates), seed)
    files = sorted(files, key=lambda file: file.path)
    slices = [(file.path, file.slice, file.patient, file.label) for file in files]
    borders = [(file.path, format_outline(outlines[file.path])) for file in files if file.path in outlines]
    for name, rows, columns in ((SLICES_FILE, slices, SLICE_COLUMNS), (OUTLINES_FILE, borders, OUTLINE_COLUMNS)):
        write_csv(folder / ANNOTATIONS_FOLDER / name, pd.DataFrame(rows, columns=list(columns)))


def _write_slice(folder: Path, files: Sequence[PhantomFile], seed: int) -> dict[str, Outline]:
    """Write a slice and its duplicates; returns the outline of the tumour in each, if there is one."""
    pixels, outline = draw_slice(files[0], seed)
    original = b""
    outlines = {}
    for index, file in enumerate(files):
        rng = np.random.default_rng([seed, Stream.FILE, *file.place, index])
        if file.kind == ORIGINAL:
            content = original = _encode(pixels, file.mode, int(rng.integers(80, 96)))
            moved = outline
        elif file.kind == "equal":
            content, moved = original, outline
        else:
            decoded = np.asarray(Image.open(io.BytesIO(original)).convert("RGB").convert("L"))
            changed, moved = _changed(decoded, outline, file.kind, rng)
            quality = int(rng.integers(45, 70) if file.kind == "recompressed" else rng.integers(80, 96))
            content = _encode(changed, file.mode, quality)
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if moved is not None:
            outlines[file.path] = moved
    return outlines


def _changed(pixels: Pixels, outline: Outline | None, kind: str, rng: Generator) -> tuple[Pixels, Outline | None]:
    """A duplicate that is not byte for byte, and where the outline lies in it."""
    height, width = pixels.shape
    if kind == "resized":
        factors = [value for value in (0.55, 0.7, 1.3, 1.6) if 160 <= value * max(height, width) <= LONGEST]
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
    if suffix(mode) == ".jpg":
        image.save(buffer, "JPEG", quality=quality)
    else:
        image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
