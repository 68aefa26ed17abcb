"""One row an image: what is in `data/raw`, and `data/split.csv` that says what each image is for."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brain_tumor.errors import UserError
from brain_tumor.files import atomic_file, file_digest

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")

TUMOUR = "tumor"
"""Class of a picture with a tumour whose type is not known: no class that is predicted, see `training/task.py`."""

HEALTHY = "notumor"
"""The one of `CLASSES` that is no tumour."""

TRAINING, TESTING = "Training", "Testing"
"""The published folders, and the values of the column `part`.

It is empty where a set has no such folders, and the set's name for images of a further set.
"""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

ANNOTATIONS_FOLDER = "annotations"
"""Folder of `data/raw` that holds `slices.csv` and `outlines.csv` where patients and outlines are known."""

EXTERNAL_FOLDER = "additional"
"""Folder of `data/raw` that holds further sets: in each a folder a class, `TUMOUR` among them."""

TRAIN, VALIDATION, TEST, EXTERNAL, EXCLUDED = "train", "validation", "test", "external", "excluded"
"""The values of the column `split`; `EXTERNAL` is held back of further sets, for measurement."""

SPLITS = (TRAIN, VALIDATION, TEST)
"""What every study has; `EXTERNAL` only one with further sets."""

SPLIT_COLUMNS = ("path", "class", "folder", "split", "reason", "group", "patient", "digest")
"""Columns of `data/split.csv`; all are text, and empty where nothing is known.

`path` is relative to `data/raw` with forward slashes, `digest` the SHA-256 of the file, `group` the name of the group
of copies (the smallest path in it), `reason` why an image is excluded.
"""


def read_catalog(root: Path) -> pd.DataFrame:
    """List the images below `root`, sorted by path: columns `path, class, part, digest`.

    Raises:
        UserError: no images, an unknown class folder, or an empty class.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: run the download stage first")
    rows = []
    additional = _external_folders(root)
    for folder, part in _published_folders(root) + additional:
        classes = (*CLASSES, TUMOUR) if (folder, part) in additional else CLASSES
        for class_folder in sorted(path for path in folder.iterdir() if path.is_dir()):
            if class_folder.name in (ANNOTATIONS_FOLDER, EXTERNAL_FOLDER):
                continue
            if class_folder.name not in classes:
                raise UserError(f"{class_folder}: unknown class folder, expected {', '.join(classes)}")
            for file in sorted(class_folder.iterdir()):
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."):
                    rows.append((file.relative_to(root).as_posix(), class_folder.name, part, file_digest(file)))
    catalog = pd.DataFrame(rows, columns=["path", "class", "folder", "digest"], dtype=str)
    if catalog.empty:
        raise UserError(f"{root} holds no images: expected folders {', '.join(CLASSES)}")
    for folder, part in _published_folders(root):
        present = set(catalog.loc[catalog["folder"] == part, "class"])
        for name in sorted(set(CLASSES) - present):
            raise UserError(f"{folder / name} holds no images: every class needs some")
    return catalog.sort_values("path", ignore_index=True)


def main_set(images: pd.DataFrame) -> pd.DataFrame:
    """The images that are not of a further set.

    Args:
        images: column `part`.
    """
    return images[images["folder"].isin((TRAINING, TESTING, ""))]


def write_split(path: Path, split: pd.DataFrame) -> None:
    """Write `data/split.csv`, every column in its place.

    Raises:
        ValueError: columns other than `SPLIT_COLUMNS`, or a path named twice.
    """
    if set(split.columns) != set(SPLIT_COLUMNS) or split["path"].duplicated().any():
        raise ValueError(f"expected one row a path and the columns {SPLIT_COLUMNS}, got {tuple(split.columns)}")
    with atomic_file(path) as temporary:
        split.loc[:, list(SPLIT_COLUMNS)].to_csv(temporary, index=False)


def read_split(path: Path) -> pd.DataFrame:
    """Read `data/split.csv`; all columns are text, and empty where nothing is known.

    Raises:
        UserError: the file is not there, or its columns are others.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there: run the split stage first")
    split = pd.read_csv(path, dtype=str, keep_default_na=False)
    if tuple(split.columns) != SPLIT_COLUMNS:
        raise UserError(f"{path}: expected the columns {', '.join(SPLIT_COLUMNS)}: run the split stage again")
    return split


def published_duplicates(split: pd.DataFrame) -> set[str]:
    """Paths of the published test images that have a copy in the published training set, under any protocol.

    Args:
        split: `SPLIT_COLUMNS`.
    """
    groups = split.loc[split["folder"] == TRAINING, "group"]
    return set(split.loc[(split["folder"] == TESTING) & split["group"].isin(groups), "path"])


def digest_order(paths: Sequence[str]) -> list[int]:
    """Row numbers in the order of the SHA-256 of the paths: as if drawn; another image leaves the order as it is."""
    return sorted(range(len(paths)), key=lambda row: hashlib.sha256(paths[row].encode()).digest())


def evenly_spaced(total: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` row numbers of `total`, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(np.int64))


def _published_folders(root: Path) -> list[tuple[Path, str]]:
    parts = [(root / part, part) for part in (TRAINING, TESTING) if (root / part).is_dir()]
    return parts or [(root, "")]


def _external_folders(root: Path) -> list[tuple[Path, str]]:
    folder = root / EXTERNAL_FOLDER
    return [(path, path.name) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
