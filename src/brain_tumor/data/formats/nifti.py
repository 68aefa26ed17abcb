"""NIfTI volumes to grey slices."""

import logging
import warnings
from collections.abc import Iterator
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from brain_tumor.data.formats.pixels import (
    MAX_PIXELS,
    MAX_RATIO,
    MAX_VOXELS,
    Picture,
    Pixels,
    check_size,
    contrast,
    to_grey,
)
from brain_tumor.errors import UserError

ISOTROPIC = 1.2
"""Spacings that differ by less than this factor name no slice axis; slices are axial then."""

MILLIMETRES = {1: 1000.0, 3: 0.001}
"""Of a metre and a micrometre, by their codes in the header; other lengths are in millimetres, also of unknown unit."""

DECODING = 16
"""Bytes that a voxel of a slice takes while it is read."""

# nibabel tells of odd values in a header on stderr.
logging.getLogger("nibabel.global").disabled = True
warnings.filterwarnings("ignore", module=r"nibabel\b")


def is_nifti(head: bytes | bytearray) -> bool:
    """Whether a file that begins so, unpacked, is a whole NIfTI-1 or NIfTI-2 file."""
    return head[344:348] == b"n+1\0" or head[4:8] == b"n+2\0"


def nifti_pictures(name: str, content: bytes | bytearray, most: int) -> Iterator[Picture]:
    """The slices of a volume, or of several in a file, one at a time, so that only the values as stored are in memory.

    Args:
        name: of the file.
        content: unpacked.
        most: bytes that a slice may take.

    Raises:
        UserError: no grey values, too large, or a header that cannot be.
        Exception: what nibabel raises for a damaged file.
    """
    # Here, because nibabel imports SciPy, which no stage needs that reads no volume.
    import nibabel
    from nibabel.orientations import apply_orientation, io_orientation

    kind = nibabel.Nifti1Header if content[344:348] == b"n+1\0" else nibabel.Nifti2Header
    header = kind(bytes(content[: kind.template_dtype.itemsize]))  # type: ignore[no-untyped-call]
    shape, dtype = header.get_data_shape(), header.get_data_dtype()
    if len(shape) < 2 or any(size != 1 for size in shape[4:]) or dtype.kind not in "iuf":
        raise UserError(f"{name}: shape {shape} of {dtype}: expected volumes of grey values")
    rows, columns, frames, volumes = (*shape, 1, 1)[:4]
    check_size(name, rows, columns, frames * volumes, DECODING, most)
    stored = np.frombuffer(content, dtype, rows * columns * frames * volumes, header.get_data_offset())
    with np.errstate(all="ignore"):
        orientation = io_orientation(header.get_best_affine())
    spacings = np.array((*header.get_zooms(), 1.0)[:3], np.float64)[orientation[:, 0].argsort()]
    scaling = header.get_slope_inter()
    millimetres = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    for number, values in enumerate(stored.reshape((volumes, frames, columns, rows))):
        low, high = contrast(_scaled(values.ravel()[:: max(1, values.size // 1_000_000)], *scaling))
        volume = apply_orientation(values.T, orientation)
        axis = slice_axis(volume.shape, spacings)
        second, first = map(float, np.delete(spacings, axis))
        spacing = float(spacings[axis]) * millimetres
        for index, plane in enumerate(np.moveaxis(volume, axis, 0)):
            # In canonical order the axes run to the right, the front and the top. Turned so, the front or the top of
            # the head is up, and the patient's right side is left, as radiologists look at slices.
            grey = to_grey(_scaled(plane.T[::-1, ::-1], *scaling), low, high)
            yield Picture(
                _square_pixels(name, grey, first, second, volume.shape[axis] * volumes),
                frame=None if volume.shape[axis] == 1 else index,
                volume=None if volumes == 1 else number,
                spacing=spacing if 0 < spacing < inf else None,
            )


def _scaled(values: NDArray[Any], slope: float | None, intercept: float | None) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        single = values.astype(np.float32)
        return single if slope is None or intercept is None else single * np.float32(slope) + np.float32(intercept)


def slice_axis(shape: tuple[int, ...], spacings: NDArray[np.floating]) -> int:
    """The axis across the slices of a volume in canonical order: that of the largest spacing, else from foot to head.

    Args:
        shape: of the volume, three values; an axis of one slice is the one.
        spacings: of its voxels, three values.
    """
    if 1 in shape:
        return shape.index(1)
    known = np.where(np.isfinite(spacings) & (spacings > 0), spacings, 1.0)
    largest = int(known.argmax())
    return largest if known[largest] > ISOTROPIC * np.median(known) else 2


def _square_pixels(name: str, grey: Pixels, row_spacing: float, column_spacing: float, slices: int) -> Pixels:
    """Scale the axis with the larger spacing, so that a millimetre is as long on both; of one of so many slices."""
    smaller, larger = sorted((row_spacing, column_spacing))
    if not (isfinite(smaller) and isfinite(larger) and smaller > 0) or larger < 1.01 * smaller:
        return grey
    height, width = grey.shape
    factor = larger / smaller
    if factor > MAX_RATIO or height * width * factor > min(MAX_PIXELS, MAX_VOXELS / slices):
        raise UserError(f"{name}: voxels of {row_spacing:g} x {column_spacing:g}: check the header")
    size = (width, round(height * factor)) if row_spacing > column_spacing else (round(width * factor), height)
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BILINEAR))
