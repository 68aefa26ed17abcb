"""Packed arrays on disk: the images of each split at model size, opened as memory maps, with an index beside them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.data.catalog import CLASSES, SPLITS, TEST, TRAIN, VALIDATION
from brain_tumor.data.images import Pixels
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file, write_json

INDEX_COLUMNS = ("path", "class", "copy", "group")


@dataclass(frozen=True)
class Part:
    """The images of one split.

    Attributes:
        images: (images, size, size), grey values 0 to 255; a read-only memory map.
        index: a row an image: `path`, `class`, `copy` (0 for the original, then 1, 2, …) and `group` of copies.
    """

    images: Pixels
    index: pd.DataFrame

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(images,), index into `CLASSES`."""
        return np.array([CLASSES.index(name) for name in self.index["class"]], np.int64)


@dataclass(frozen=True)
class Arrays:
    """All splits, and the description of the reader that made them.

    Attributes:
        train: originals and augmented copies.
        validation: originals only.
        test: originals only.
        reader: what prediction must do to read a file likewise: `image_size`, and `digest` of the data.
    """

    train: Part
    validation: Part
    test: Part
    reader: Mapping[str, object]

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return int(self.train.images.shape[1])


def write_part(folder: Path, name: str, images: Pixels, index: pd.DataFrame) -> None:
    """Write one split as `NAME.npy` and `NAME.csv`.

    Raises:
        ValueError: rows of `images` and `index` do not agree, or an index with other columns.
    """
    if len(images) != len(index) or tuple(index.columns) != INDEX_COLUMNS:
        raise ValueError(f"{len(images)} images, {len(index)} rows of {tuple(index.columns)}")
    with atomic_file(folder / f"{name}.npy") as temporary:
        np.save(temporary, images, allow_pickle=False)
    with atomic_file(folder / f"{name}.csv") as temporary:
        index.to_csv(temporary, index=False)


def write_reader(folder: Path, reader: Mapping[str, object]) -> None:
    """Write the description of the reader beside the arrays."""
    write_json(folder / "reader.json", dict(reader))


def open_arrays(folder: Path) -> Arrays:
    """Open the arrays that the augment stage wrote.

    Raises:
        UserError: a file is not there, or images and index do not agree.
    """
    parts = {name: _open_part(folder, name) for name in SPLITS}
    reader = json.loads(_present(folder / "reader.json").read_text(encoding="utf-8"))
    return Arrays(parts[TRAIN], parts[VALIDATION], parts[TEST], reader)


def _open_part(folder: Path, name: str) -> Part:
    images = np.load(_present(folder / f"{name}.npy"), mmap_mode="r", allow_pickle=False)
    index = pd.read_csv(_present(folder / f"{name}.csv"), dtype={"copy": int}, keep_default_na=False)
    if len(images) != len(index) or not len(index):
        raise UserError(f"{folder / name}: {len(images)} images, {len(index)} rows: run the augment stage again")
    return Part(images, index)


def _present(file: Path) -> Path:
    if not file.is_file():
        raise UserError(f"{file} is not there: run the augment stage first")
    return file
