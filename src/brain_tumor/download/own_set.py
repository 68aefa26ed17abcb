"""A data set of one's own: copied under the names of the project, with masks beside pictures as outlines."""

import io
from collections.abc import Mapping
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from brain_tumor.data.annotations import (
    OUTLINE_COLUMNS,
    OUTLINES_FILE,
    format_outline,
    outline_of,
    read_outlines,
    read_slices,
)
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, read_catalog
from brain_tumor.data.formats.decoding import pictures
from brain_tumor.data.formats.raster import is_raster
from brain_tumor.data.images import decode, read_images
from brain_tumor.download.archives import Tree, copy_files, named_as, open_tree
from brain_tumor.download.layout import annotation_targets, image_targets, mask_targets
from brain_tumor.errors import UserError
from brain_tumor.files import write_csv
from brain_tumor.progress import progress

CHECK_SIZE = 32
"""Pixels a side when an image is read only to see that it can be."""


def fetch_own_set(folder: Path, source: Path, classes: Mapping[str, str]) -> None:
    """Copy images, annotations and masks into `folder`, and read each once.

    Args:
        folder: exists.
        source: a folder or an archive.
        classes: names of class folders that are not understood, with the class of each.

    Raises:
        UserError: another layout, an image or a mask that cannot be read, or annotations that do not fit.
    """
    with open_tree(source) as tree:
        images = image_targets(tree, classes)
        copy_files(tree, images, folder, progress(f"copy {source.name}"))
        copy_files(tree, annotation_targets(tree, classes), folder)
        _write_masks(tree, images, folder)
    with named_as(folder, source):
        catalog = read_catalog(folder)
        bar = progress(f"check {source.name}", len(catalog))
        read_images([folder / path for path in catalog["path"]], CHECK_SIZE, bar)
    check_annotations(folder, source)


def check_annotations(folder: Path, source: Path) -> None:
    """Annotations can be read and name only images that are there."""
    with named_as(folder, source):
        slices = read_slices(folder)
        named = {*read_outlines(folder), *(() if slices is None else slices["image"])}
        unknown = sorted(path for path in named if not (folder / path).is_file())
        if unknown:
            raise UserError(f"{folder}: annotations of {len(unknown):,} images that are not there: {unknown[0]}")


def _write_masks(tree: Tree, images: Mapping[str, str], folder: Path) -> None:
    """Add the outlines of masks beside pictures to the annotations; a mask that is empty but for specks has none."""
    rows = []
    pairs = sorted((picture, name) for name, picture in mask_targets(tree.names).items() if picture in images)
    for picture, names in groupby(pairs, itemgetter(0)):
        masks = [_read_mask(tree, name, folder / images[picture]) for _, name in names]
        if outline := format_outline(outline_of(np.logical_or.reduce(masks))):
            rows.append((images[picture], outline))
    if rows:
        target = folder / ANNOTATIONS_FOLDER / OUTLINES_FILE
        table = pd.DataFrame(rows, columns=list(OUTLINE_COLUMNS))
        if target.is_file():
            raise UserError(f"{tree.path} has both masks and {ANNOTATIONS_FOLDER}/{OUTLINES_FILE}: remove one")
        write_csv(target, table.sort_values("image"))


def _read_mask(tree: Tree, name: str, picture: Path) -> NDArray[np.bool_]:
    """(height, width), where the mask is not black, at the size of its picture; its transparency says nothing.

    Raises:
        UserError: it cannot be read, has several pages or no black, or another shape than its picture.
    """
    told = f"{tree.path}: the mask {name}"
    with tree.open(name) as file:
        content = file.read()
    if content and not is_raster(content[:32]):
        raise UserError(f"{told} is no PNG: write it as one")
    if len(list(islice(pictures(told, content), 2))) > 1:  # reads what is damaged or too large as all pictures are
        raise UserError(f"{told} has several pages: save the one that is meant as PNG")
    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image)
        colours = upright if upright.mode[0] in "1LIF" and upright.mode != "LA" else upright.convert("RGB")
        # Around edges JPEG leaves what is nearly black; labels such as 1 and 2 are nearly black elsewhere.
        values = np.atleast_3d(np.asarray(colours))
        white: NDArray[np.bool_] = np.any(values > (127 if image.format == "JPEG" else 0), axis=2)
    (rows, columns), (height, width) = white.shape, decode(picture).shape
    if abs(columns * height - rows * width) > 0.02 * rows * width:
        raise UserError(f"{told} has {columns} x {rows} pixels, its picture {width} x {height}: write it at that size")
    if white.all():
        raise UserError(f"{told} has no black: draw the tumour white on black")
    return np.asarray(Image.fromarray(white).resize((width, height), Image.Resampling.NEAREST))
