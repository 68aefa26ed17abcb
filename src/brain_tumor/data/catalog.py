"""One row an image: what is in `data/raw`, and `data/split.csv` that says what each image is for."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brain_tumor.errors import UserError
from brain_tumor.files import file_digest, write_csv

CLASSES = ("glioma", "meningioma", "notumor", "pituitary")

TUMOUR = "tumor"
"""Class of an image with a tumour of unknown type: no class that is predicted, see `training/task.py`."""

HEALTHY = "notumor"
"""The one of `CLASSES` that is no tumour."""

HEALTHY_INDEX = CLASSES.index(HEALTHY)

TRAINING, VALIDATING, TESTING = "Training", "Validation", "Testing"
"""The folders of a set that is cut already, and the values of the column `folder`; the published set has no second.

It is empty where a data set has no such folders. For external data it is the name of their set.
"""

FOLDER_NAMES = {
    TRAINING: ("train", "training"),
    VALIDATING: ("val", "valid", "validation"),
    TESTING: ("test", "testing"),
}
"""How people name these folders, in lower case."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom", ".ima"})

ANNOTATIONS_FOLDER = "annotations"
"""Folder of `data/raw` that holds `slices.csv` and `outlines.csv` where patients and outlines are known."""

EXTERNAL_FOLDER = "additional"
"""Folder of `data/raw` that holds external data: a folder a set, in it a folder a class, `TUMOUR` among them."""

TRAIN, VALIDATION, TEST, EXTERNAL, EXCLUDED = "train", "validation", "test", "external", "excluded"
"""The values of the column `split`; `EXTERNAL` is the external test set."""

SPLITS = (TRAIN, VALIDATION, TEST)
"""What every study has; `EXTERNAL` only one with external data."""

SPLIT_COLUMNS = ("path", "class", "folder", "split", "reason", "group", "patient", "digest")
"""Columns of `data/split.csv`; all are text, and empty where nothing is known.

`path` is relative to `data/raw` with forward slashes, `digest` the SHA-256 of the file, `group` the name of the group
of duplicates (the smallest path in it), `reason` why an image is excluded.
"""


def read_catalog(root: Path) -> pd.DataFrame:
    """List the images below `root`, sorted by path: columns `path, class, folder, digest`.

    Raises:
        UserError: no images, an unknown class folder, or an empty class.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: run the download stage first")
    rows = []
    published, external = _published_folders(root), _external_folders(root)
    for parent, name in published + external:
        classes = (*CLASSES, TUMOUR) if (parent, name) in external else CLASSES
        for class_folder in sorted(path for path in parent.iterdir() if path.is_dir()):
            if class_folder.name in (ANNOTATIONS_FOLDER, EXTERNAL_FOLDER):
                continue
            if class_folder.name not in classes:
                raise UserError(f"{class_folder}: unknown class folder, expected {', '.join(classes)}")
            for file in sorted(class_folder.iterdir()):
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."):
                    rows.append((file.relative_to(root).as_posix(), class_folder.name, name, file_digest(file)))
    catalog = pd.DataFrame(rows, columns=["path", "class", "folder", "digest"], dtype=str)
    if catalog.empty:
        raise UserError(f"{root} holds no images: expected folders {', '.join(CLASSES)}")
    for _, name in published:
        if name == VALIDATING:
            continue
        for missing in sorted(set(CLASSES) - set(catalog.loc[catalog["folder"] == name, "class"])):
            place = f" in {name}" if name else ""
            raise UserError(f"{root} holds no images of {missing}{place}: every class needs some")
    return catalog.sort_values("path", ignore_index=True)


def main_set(images: pd.DataFrame) -> pd.DataFrame:
    """The images that are not external.

    Args:
        images: column `folder`.
    """
    return images[images["folder"].isin((*FOLDER_NAMES, ""))]


def write_split(path: Path, split: pd.DataFrame) -> None:
    """Write `data/split.csv`, every column in its place.

    Raises:
        ValueError: columns other than `SPLIT_COLUMNS`, or a path named twice.
    """
    if set(split.columns) != set(SPLIT_COLUMNS) or split["path"].duplicated().any():
        raise ValueError(f"expected one row a path and the columns {SPLIT_COLUMNS}, got {tuple(split.columns)}")
    write_csv(path, split[list(SPLIT_COLUMNS)])


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
    """Paths of the published test images that have a duplicate in the published training set, under any protocol.

    Args:
        split: `SPLIT_COLUMNS`.
    """
    groups = split.loc[split["folder"] == TRAINING, "group"]
    return set(split.loc[(split["folder"] == TESTING) & split["group"].isin(groups), "path"])


def scores_and_labels(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Check that scores of images and their labels belong together, and give both as arrays.

    Args:
        scores: (images, classes), probabilities or logits.
        labels: (images,), class indices.

    Raises:
        ValueError: no images, shapes that do not agree, or a label that is no class index.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels)
    if values.ndim != 2 or truth.shape != values.shape[:1] or not len(truth):
        raise ValueError(f"scores {values.shape}, labels {truth.shape}: expected (images, classes) and (images,)")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= values.shape[1]:
        raise ValueError(f"labels must be integers from 0 to {values.shape[1] - 1}")
    return values, truth.astype(np.int64)


def digest_order(paths: Sequence[str]) -> list[int]:
    """Row numbers in the order of the SHA-256 of the paths: as if drawn; another image leaves the order as it is."""
    return sorted(range(len(paths)), key=lambda row: hashlib.sha256(paths[row].encode()).digest())


def evenly_spaced(total: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` row numbers of `total`, evenly spaced from the first to the last."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).round().astype(np.int64))


def _published_folders(root: Path) -> list[tuple[Path, str]]:
    folders = [(root / name, name) for name in FOLDER_NAMES if (root / name).is_dir()]
    return folders or [(root, "")]


def _external_folders(root: Path) -> list[tuple[Path, str]]:
    folder = root / EXTERNAL_FOLDER
    return [(path, path.name) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
