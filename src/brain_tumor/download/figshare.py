"""Patients, true labels and tumour outlines of the main set, from the two forms in which they are found.

Most of the set's pictures of tumours are slices of the figshare set 1512427 (Cheng et al., Enhanced performance of
brain tumor classification via tumor region augmentation and partition, PLOS ONE 2015), turned into JPEG and often
mirrored. That set tells the patient and the outline; which picture is which slice is found by content.
"""

import io
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from brain_tumor.data.annotations import (
    OUTLINE_COLUMNS,
    OUTLINES_FILE,
    SLICE_COLUMNS,
    SLICES_FILE,
    Outline,
    format_outline,
    outline_mask,
    parse_outline,
    read_table,
)
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, read_catalog
from brain_tumor.data.images import read_images
from brain_tumor.download.archives import copy_files, open_tree
from brain_tumor.errors import UserError
from brain_tumor.files import write_csv
from brain_tumor.progress import is_terminal, progress

DOI = "10.6084/m9.figshare.1512427"
"""Of the set, under CC BY 4.0."""

SERVER = "https://ndownloader.figshare.com/files"
"""Where figshare keeps files by their numbers; the page that the DOI leads to turns programs away."""

ARCHIVES = {
    "brainTumorDataPublic_1-766.zip": (3381290, "74b949ad33f042e6e103523091cd1428"),
    "brainTumorDataPublic_767-1532.zip": (3381296, "7e8a875500d2c8a346f270538e29890e"),
    "brainTumorDataPublic_1533-2298.zip": (3381293, "8227bf6080cb71f15a88be8d25c79ae7"),
    "brainTumorDataPublic_2299-3064.zip": (3381302, "b378a80d6174e5317d59eb28430c6652"),
}
"""Number and MD5 of each archive of the set, as figshare states them."""

MATCHED_SLICES, MATCHED_OUTLINES = "cheng_slices.csv", "tumor_outlines.csv"

MATCH = 0.999
"""Correlation at `SIDE` pixels from which a picture is taken for a slice.

Compression and scaling leave more than that; neighbouring slices of one patient reach at most 0.975 at 96 pixels.
"""

SIDE = 64

LABELS = {1: "meningioma", 2: "glioma", 3: "pituitary"}
"""The values of `cjdata.label`."""

_GRID = 511
"""Coordinates of borders become fractions by division by the last pixel of a slice, which nearly all have at 511.

The tables divide all by 511, to a ten-thousandth. That rounding comes first in both forms, so that they agree.
"""

_SMALL_SLICES = {str(number) for number in (955, 956, 957, *range(1070, 1077), *range(1203, 1208))}
"""Of 256 pixels a side: their outlines in the tables are half as large as they should be, and lie elsewhere."""

_FOLDS_FILE = "cvind.mat"  # a cut of the slices into folds, which comes with them and is not needed

_MATCHED_COLUMNS = dict(zip(("image", "cheng_slice", "patient", "cheng_label"), SLICE_COLUMNS, strict=True))

Vectors = NDArray[np.float32]
"""(pictures, SIDE * SIDE): greys of mean 0 and norm 1, so that the product of two is their correlation."""


@dataclass(frozen=True)
class Slice:
    """One file of the figshare set.

    Attributes:
        patient: the id without the letter that tells rescans of one person apart.
        label: a class.
        outline: of the tumour.
        picture: (SIDE, SIDE), intensities as they are.
    """

    patient: str
    label: str
    outline: Outline
    picture: NDArray[np.float32]


def write_annotations(source: Path, raw: Path) -> None:
    """Write `annotations/slices.csv` and `annotations/outlines.csv` below `raw`.

    Args:
        source: a folder with `cheng_slices.csv` and `tumor_outlines.csv`; or the figshare set 1512427: a folder of
            its `.mat` files or of its archives as downloaded, or the one archive of all.
        raw: holds the images of the main set.

    Raises:
        UserError: neither form, files that cannot be read, or no slice that matches an image.
    """
    if (source / MATCHED_SLICES).exists():
        slices, outlines = _read_tables(source)
    else:
        slices, outlines = _annotate_by_content(source, raw)
    write_csv(raw / ANNOTATIONS_FOLDER / SLICES_FILE, slices)
    write_csv(raw / ANNOTATIONS_FOLDER / OUTLINES_FILE, outlines)


def download_figshare(folder: Path) -> Path:
    """The archives of the figshare set, whole and checked; those that are there stay.

    Args:
        folder: to keep them in.

    Returns:
        `folder`.

    Raises:
        UserError: they cannot be downloaded, or arrive damaged.
    """
    import pooch  # here, because only a download needs it

    try:
        for name, (number, digest) in ARCHIVES.items():
            pooch.retrieve(f"{SERVER}/{number}", f"md5:{digest}", name, folder, progressbar=is_terminal(sys.stderr))
    except (OSError, ValueError) as error:  # a failed request is an OSError, another digest a ValueError
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"figshare article {DOI} cannot be downloaded ({type(error).__name__}: {reason}): get online, let "
            "BRAIN_TUMOR_ANNOTATIONS name its files, or set download.annotations to false"
        ) from None
    return folder


def read_figshare(source: Path) -> dict[int, Slice]:
    """The slices of the figshare set by their numbers.

    Args:
        source: as for `write_annotations`.

    Raises:
        UserError: no slices, or a file that cannot be read.
    """
    slices: dict[int, Slice] = {}
    for name, content in progress("read slices", unit="file")(_mat_files(source)):
        try:
            slices[int(PurePosixPath(name).stem)] = _read_slice(content)
        except (OSError, KeyError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{name} is no file of figshare article 1512427, or damaged ({reason})") from None
    if not slices:
        raise UserError(
            f"BRAIN_TUMOR_ANNOTATIONS: {source} holds neither {MATCHED_SLICES} nor .mat files of figshare article "
            "1512427"
        )
    return dict(sorted(slices.items()))


def _read_tables(source: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    matched = read_table(source / MATCHED_SLICES, (*_MATCHED_COLUMNS, "mirrored"))
    outlines = read_table(source / MATCHED_OUTLINES, OUTLINE_COLUMNS)
    small = matched[matched["cheng_slice"].isin(_SMALL_SLICES)].set_index("image")["mirrored"]
    for row in np.flatnonzero(outlines["image"].isin(small.index)):
        image, text = outlines.iloc[row]
        points = parse_outline(source / MATCHED_OUTLINES, image, text)
        orient = _mirror if small[image] == "1" else np.asarray
        outlines.loc[row, "outline"] = format_outline(orient(orient(points) * (_GRID / 255)))
    return matched[list(_MATCHED_COLUMNS)].rename(columns=_MATCHED_COLUMNS), outlines


def _annotate_by_content(source: Path, raw: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    slices = read_figshare(source)
    numbers = list(slices)
    plain = np.stack([slices[number].picture for number in numbers])
    # Both orientations stand side by side: index modulo their number is the slice, the quotient tells the mirror.
    vectors = _vectors(np.concatenate([plain, plain[:, :, ::-1]]))

    paths = list(read_catalog(raw)["path"])
    pictures = _vectors(read_images([raw / path for path in paths], SIDE, progress("match slices", len(paths))))
    correlations = pictures @ vectors.T  # pictures, slices
    best = correlations.argmax(axis=1)

    rows, outlines = [], []
    for row in np.flatnonzero(correlations.max(axis=1) >= MATCH):
        mirrored, index = divmod(int(best[row]), len(numbers))
        number = numbers[index]
        found = slices[number]
        rows.append((paths[row], number, found.patient, found.label))
        outlines.append((paths[row], format_outline(_mirror(found.outline) if mirrored else found.outline)))
    if not rows:
        raise UserError(f"BRAIN_TUMOR_ANNOTATIONS: none of the {len(numbers):,} slices in {source} matches an image")
    return pd.DataFrame(rows, columns=list(SLICE_COLUMNS)), pd.DataFrame(outlines, columns=list(OUTLINE_COLUMNS))


def _mat_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of every `.mat` file of a slice, also in archives, and in archives in an archive."""
    with open_tree(source) as tree:
        for name in tree.names:
            if name.endswith(".mat") and PurePosixPath(name).name != _FOLDS_FILE:
                with tree.open(name) as file:
                    yield f"{source}/{name}", file.read()
            elif name.endswith(".zip") and source.is_dir():
                yield from _mat_files(source / name)
            elif name.endswith(".zip"):
                with tempfile.TemporaryDirectory() as folder:
                    inner = PurePosixPath(name).name
                    copy_files(tree, {name: inner}, Path(folder))
                    yield from _mat_files(Path(folder) / inner)


def _read_slice(content: bytes) -> Slice:
    with h5py.File(io.BytesIO(content), "r") as file:
        data = file["cjdata"]
        # MATLAB writes columns first, so what h5py sees is transposed.
        image = np.asarray(data["image"], np.float32).T
        mask = np.asarray(data["tumorMask"]).T > 0
        border = np.asarray(data["tumorBorder"], np.float64).reshape(-1, 2)
        patient = "".join(map(chr, np.asarray(data["PID"]).ravel()))
        label = LABELS[int(np.asarray(data["label"]).item())]
    if image.ndim != 2 or mask.shape != image.shape:
        raise ValueError(f"image of shape {image.shape}, mask of shape {mask.shape}")
    return Slice(re.sub(r"(?<=\d)[A-Za-z]$", "", patient), label, _outline(border, mask), _scale(image))


def _outline(border: NDArray[np.float64], mask: NDArray[np.bool_]) -> Outline:
    """The border as radiologists drew it, in fractions of width and height.

    Whether it lists columns or rows first is told by the mask, which lies as the image does.
    """
    height, width = mask.shape
    if len(border) < 3 or not np.isfinite(border).all():
        raise ValueError("no border in tumorBorder")
    scale = _GRID / np.array([width - 1, height - 1])
    outlines = [np.round(points / _GRID, 4) * scale for points in (border, border[:, ::-1])]
    shared = [np.count_nonzero(outline_mask(outline, height, width) & mask) for outline in outlines]
    if not max(shared):
        raise ValueError("tumorBorder does not lie around tumorMask")
    return outlines[int(np.argmax(shared))]


def _mirror(outline: Outline) -> Outline:
    return outline * (-1, 1) + (1, 0)


def _scale(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale as `read_image` does, without its rounding to 8 bits."""
    small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small, np.float32)


def _vectors(pictures: NDArray[np.float32] | NDArray[np.uint8]) -> Vectors:
    """(pictures, SIDE, SIDE) to vectors; a picture of one grey becomes 0 and is like no other."""
    vectors = pictures.reshape(len(pictures), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 0, norms, 1)
    return vectors
