"""A data set of one's own: copied under the names of the project, with masks beside pictures as outlines."""

import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageOps

from brain_tumor.data.annotations import (
    OUTLINE_COLUMNS,
    OUTLINES_FILE,
    SLICE_COLUMNS,
    SLICES_FILE,
    format_outline,
    outline_of,
    read_outlines,
    read_slices,
    read_table,
)
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, read_catalog
from brain_tumor.data.formats.decoding import pictures
from brain_tumor.data.formats.raster import is_raster
from brain_tumor.data.images import decode
from brain_tumor.download.archives import Tree, copy_files, named_as, open_tree
from brain_tumor.download.layout import PATIENTS_FILE, annotation_targets, image_targets, mask_targets, root_of
from brain_tumor.errors import UserError
from brain_tumor.files import write_csv
from brain_tumor.progress import progress

_NAMED = 10  # of the images that cannot be read


def fetch_own_set(folder: Path, source: Path, classes: Mapping[str, str]) -> None:
    """Copy images, annotations and masks into `folder`, and read each once.

    Args:
        folder: exists.
        source: a folder or an archive.
        classes: names of class folders that are not understood, with the class of each.

    Raises:
        UserError: another layout, images or a mask that cannot be read, or annotations that do not fit.
    """
    with open_tree(source) as tree:
        images = image_targets(tree, classes)
        copy_files(tree, images, folder, progress(f"copy {source.name}"))
        with named_as(folder, source):
            read_catalog(folder)
        check_images(tree, images, folder)
        copy_files(tree, annotation_targets(tree, classes), folder)
        _write_patients(tree, root_of(tree, classes), images, folder)
        _write_masks(tree, images, folder)
    check_annotations(folder, source)


def check_annotations(folder: Path, source: Path) -> None:
    """Annotations can be read and name only images that are there."""
    with named_as(folder, source):
        slices = read_slices(folder)
        named = {*read_outlines(folder), *(() if slices is None else slices["image"])}
        unknown = sorted(path for path in named if not (folder / path).is_file())
        if unknown:
            raise UserError(f"{folder}: annotations of {len(unknown):,} images that are not there: {unknown[0]}")


def check_images(tree: Tree, images: Mapping[str, str], folder: Path) -> None:
    """Read each image once, `images` by name with its path below `folder`.

    Raises:
        UserError: some cannot be read; they are named as the user knows them.
    """

    def problem(name: str) -> str:
        try:
            decode(folder / images[name])
        except UserError as error:
            return str(error).replace(str(folder / images[name]), str(tree.path / name))
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        bar = progress(f"check {tree.path.name}", len(images))
        problems = [text for text in bar(pool.map(problem, images)) if text]
    if problems:
        more = [f"and {len(problems) - _NAMED:,} more"] if len(problems) > _NAMED else []
        raise UserError("; ".join(problems[:_NAMED] + more))


def _write_patients(tree: Tree, root: PurePosixPath, images: Mapping[str, str], folder: Path) -> None:
    """Write what `PATIENTS_FILE` tells, where it is there, as annotations; each picture is a slice of its own."""
    copied, target = folder / PATIENTS_FILE, folder / ANNOTATIONS_FOLDER / SLICES_FILE
    for name in (name for name in tree.names if PurePosixPath(name).name.lower() == PATIENTS_FILE):
        if PurePosixPath(name).parent != root:
            raise UserError(f"{tree.path / name} is not beside the folders of images: put it into {tree.path / root}")
        if target.is_file():
            raise UserError(f"{tree.path / name}: {ANNOTATIONS_FOLDER}/{SLICES_FILE} tells patients too: remove one")
        copy_files(tree, {name: PATIENTS_FILE}, folder)
        with named_as(copied, tree.path / name):
            patients = _read_patients(copied, {str(PurePosixPath(path).relative_to(root)): path for path in images})
        copied.unlink()
        places = [images[path] for path in patients]
        labels = [PurePosixPath(place).parent.name for place in places]
        slices = pd.DataFrame(dict(zip(SLICE_COLUMNS, (places, places, patients.values(), labels), strict=True)))
        write_csv(target, slices.sort_values("image"))


def _read_patients(file: Path, images: Mapping[str, str]) -> dict[str, str]:
    """The patient of each image that is named, by what `images` has for its path in the set."""
    patients: dict[str, str] = {}
    table = read_table(file, ("image", "patient"))
    for line, (named, patient) in enumerate(table.itertuples(index=False), start=2):
        image = images.get(str(PurePosixPath(named.strip())))
        if image is None:
            raise UserError(f"{file}, line {line}: {named} is no image of the set: name a path such as {min(images)}")
        if patients.setdefault(image, patient.strip()) != patient.strip():
            raise UserError(f"{file}, line {line}: {named} has another patient above: remove one line")
    if not patients:
        raise UserError(f"{file} names no patient: add a line an image, or remove it")
    return patients


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
