"""From a split to packed arrays: every image read once, and train augmented."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from brain_tumor.augment.policy import augment
from brain_tumor.data.annotations import read_outlines
from brain_tumor.data.arrays import INDEX_COLUMNS, write_origin, write_split_arrays
from brain_tumor.data.catalog import EXTERNAL, SPLITS, TRAIN
from brain_tumor.data.images import Reader, prepare_images
from brain_tumor.data.masks import masks_at_model_size
from brain_tumor.params import AugmentParams


def reader_of(params: AugmentParams) -> Reader:
    """How images are read."""
    return Reader(
        size=params.image_size, crop=params.crop, intensities=params.intensities, background=params.background
    )


def pack(
    raw: Path,
    split: pd.DataFrame,
    split_digest: str,
    params: AugmentParams,
    seed: int,
    folder: Path,
    progress: Callable[[str], Any] = lambda _: iter,
) -> None:
    """Write the arrays of every split, `EXTERNAL` where there are any, and how they were read.

    Args:
        raw: the images as published.
        split: as `read_split` gives it.
        split_digest: SHA-256 of its file.
        params: how images are read, and which augmented images are made.
        seed: of everything random in these.
        folder: for the arrays.
        progress: from the name of a split to what wraps its images, for example a `tqdm` bar.

    Raises:
        UserError: an image that cannot be read.
    """
    reader = reader_of(params)
    outlines = read_outlines(raw)
    for name in [*SPLITS, *{EXTERNAL}.intersection(split["split"])]:
        rows = split[split["split"] == name].reset_index(drop=True)
        images, frames = prepare_images([raw / path for path in rows["path"]], reader, progress(name))
        index = rows[["path", "class", "group"]].assign(augmented=0).join(pd.DataFrame(frames))
        cells = None
        if name == TRAIN:
            found, masks = masks_at_model_size(outlines, rows["path"].tolist(), frames, reader.size)
            known = {row: np.asarray(mask * 255, np.uint8) for row, mask in zip(found.tolist(), masks, strict=True)}
            images, index, cells = augment(images, index, known, params, seed)
        write_split_arrays(folder, name, images, index[list(INDEX_COLUMNS)], cells)
    write_origin(folder, reader, split_digest)
