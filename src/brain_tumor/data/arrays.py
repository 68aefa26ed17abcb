"""Packed arrays on disk: the images of each split at model size, opened as memory maps, with an index beside them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import CLASSES, EXTERNAL, SPLITS, TUMOUR
from brain_tumor.data.cells import Coverage
from brain_tumor.data.images import Frame, Pixels, Reader
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file, write_json

ORIGIN = "origin.json"

BATCH = 32

INDEX_COLUMNS = ("path", "class", "augmented", "group", *Frame._fields)

UNKNOWN_TUMOUR = len(CLASSES)
"""Label of an image with a tumour of unknown type."""

_LABELS = {name: number for number, name in enumerate((*CLASSES, TUMOUR))}


@dataclass(frozen=True)
class SplitArrays:
    """The images of one split.

    Attributes:
        images: (images, size, size), grey values 0 to 255; a read-only memory map.
        index: a row an image: `path`, `class`, `augmented` (0 for the original, then 1, 2, …), `group` of duplicates,
            and its frame in the original picture: `left`, `top`, `right`, `bottom`, in shares of the sides.
        cells: how much of each cell a tumour covers; of train alone.
    """

    images: Pixels
    index: pd.DataFrame
    cells: Coverage | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(images,), index into `CLASSES`, or `UNKNOWN_TUMOUR`."""
        return np.array([_LABELS[name] for name in self.index["class"]], np.int64)

    @property
    def frames(self) -> list[Frame]:
        """The place of each image in its picture."""
        return [Frame(*row) for row in self.index[list(Frame._fields)].itertuples(index=False)]


@dataclass(frozen=True)
class Arrays:
    """All splits, and how they were read.

    Attributes:
        train: originals and augmented images.
        validation: originals only.
        test: originals only.
        external: the external test set, originals only; None where the study has none.
        reader: what prediction must do to read a file likewise.
        split_digest: SHA-256 of the split that they come from.
    """

    train: SplitArrays
    validation: SplitArrays
    test: SplitArrays
    external: SplitArrays | None
    reader: Reader
    split_digest: str


def write_split_arrays(
    folder: Path, name: str, images: Pixels, index: pd.DataFrame, cells: Coverage | None = None
) -> None:
    """Write one split as `NAME.npy` and `NAME.csv`, and `NAME_cells.npy` where `cells` are given.

    Raises:
        ValueError: rows of `images` and `index` do not agree, or an index with other columns.
    """
    if len(images) != len(index) or tuple(index.columns) != INDEX_COLUMNS:
        raise ValueError(f"{len(images)} images, {len(index)} rows of {tuple(index.columns)}")
    for file, values in ((f"{name}.npy", images), (f"{name}_cells.npy", cells)):
        if values is not None:
            with atomic_file(folder / file) as temporary:
                np.save(temporary, values, allow_pickle=False)
    with atomic_file(folder / f"{name}.csv") as temporary:
        index.to_csv(temporary, index=False)  # with all digits: outlines are placed by the frames


def write_origin(folder: Path, reader: Reader, split_digest: str) -> None:
    """Write beside the arrays how they were read, and from which split."""
    write_json(folder / ORIGIN, {"reader": reader.model_dump(), "split_digest": split_digest})


def open_arrays(folder: Path) -> Arrays:
    """Open the arrays that the augment stage wrote.

    Raises:
        UserError: a file is not there, or images and index do not agree.
    """
    train, validation, test = (_open_split(folder, name) for name in SPLITS)
    origin = json.loads(_present(folder / ORIGIN).read_text(encoding="utf-8"))
    reader = Reader.model_validate(origin["reader"])
    external = _open_split(folder, EXTERNAL) if (folder / f"{EXTERNAL}.csv").exists() else None
    return Arrays(train, validation, test, external, reader, origin["split_digest"])


def _open_split(folder: Path, name: str) -> SplitArrays:
    images = np.load(_present(folder / f"{name}.npy"), mmap_mode="r", allow_pickle=False)
    index = pd.read_csv(_present(folder / f"{name}.csv"), dtype={"augmented": int}, keep_default_na=False)
    if len(images) != len(index) or not len(index):
        raise UserError(f"{folder / name}: {len(images)} images, {len(index)} rows: run the augment stage again")
    cells = folder / f"{name}_cells.npy"
    return SplitArrays(images, index, np.load(cells, allow_pickle=False) if cells.is_file() else None)


def _present(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"{file} is not there: run the augment stage first")
    return file


def batches(count: int) -> list[NDArray[np.int64]]:
    """Rows of `count` images for a network, at least one batch, each of about as many and at most `BATCH`."""
    return np.array_split(np.arange(count), max(1, -(-count // BATCH)))
