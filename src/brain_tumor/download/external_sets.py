"""External data sets beside the main one: a table, one row each."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd
from PIL import Image

from brain_tumor.data.annotations import (
    OUTLINE_COLUMNS,
    OUTLINES_FILE,
    SLICE_COLUMNS,
    SLICES_FILE,
    format_outline,
    read_table,
)
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, EXTERNAL_FOLDER, HEALTHY, IMAGE_SUFFIXES, TUMOUR
from brain_tumor.download.archives import Tree, copy_files, existing, named_as, open_tree
from brain_tumor.download.kaggle import download
from brain_tumor.download.lgg import Picture, read_lgg
from brain_tumor.download.own_set import check_images
from brain_tumor.errors import UserError
from brain_tumor.files import write_csv

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExternalSet:
    """What the project must know of an external set.

    Attributes:
        handle: on Kaggle.
        variable: of the environment, names an archive or folder with the set or some of it.
        names: for each class a pattern of the file names that belong to it, in whatever folder; others stay behind.
        published: how many images of each class there are.
        read: makes pictures with patients and outlines of the set's files, where those are no pictures of a class
            already; `names` is not used then.
    """

    handle: str
    variable: str
    names: Mapping[str, re.Pattern[str]]
    published: Mapping[str, int]
    read: Callable[[Tree], Iterator[Picture]] | None = None


EXTERNAL_SETS: Mapping[str, ExternalSet] = {
    "br35h": ExternalSet(
        handle="ahmedhamada0/brain-tumor-detection",
        variable="BRAIN_TUMOR_DATA_BR35H",
        names={TUMOUR: re.compile(r"y\d+"), HEALTHY: re.compile(r"no ?\d+")},
        published={TUMOUR: 1500, HEALTHY: 1500},
    ),
    "lgg": ExternalSet(
        handle="mateuszbuda/lgg-mri-segmentation",
        variable="BRAIN_TUMOR_DATA_LGG",
        names={},
        published={},
        read=read_lgg,
    ),
}


def fetch_external(folder: Path, name: str, place: Path | None) -> None:
    """Put the images of an external set below `folder`, as `external/NAME/CLASS/FILE`, with what is known of them.

    Args:
        folder: of the main set.
        name: one of `EXTERNAL_SETS`.
        place: archive or folder, also with some of the set; None to ask Kaggle.

    Raises:
        UserError: the set cannot be reached, holds no known images, or one that cannot be read.
    """
    known = EXTERNAL_SETS[name]
    otherwise = f"set {known.variable} to an archive or folder with the set or some of it"
    source = existing(known.variable, place) if place else download(known.handle, otherwise)
    with open_tree(source) as tree, named_as(folder, source):
        paths = _write_pictures(known.read(tree), name, folder) if known.read else _copy(tree, name, folder)
    if not paths:
        raise UserError(f"{source} holds no images of {name}: expected files named as in {known.handle}")
    counts = Counter(PurePosixPath(path).parts[2] for path in paths)
    of = {label: f" of {total:,}" for label, total in known.published.items()}
    said = ", ".join(f"{counts[label]:,}{of.get(label, '')} {label}" for label in dict.fromkeys((*of, *sorted(counts))))
    log.info("%s: %s", name, said)


def _copy(tree: Tree, name: str, folder: Path) -> list[str]:
    """Copy the images of a set and read each once; their paths below `folder`."""
    targets = _targets(tree, name)
    copy_files(tree, targets, folder)
    check_images(tree, targets, folder)
    return list(targets.values())


def _write_pictures(pictures: Iterable[Picture], name: str, folder: Path) -> list[str]:
    """Write pictures as PNG, and add their patients and outlines to the annotations; their paths below `folder`."""
    slices, outlines = [], []
    for picture in pictures:
        path = f"{EXTERNAL_FOLDER}/{name}/{picture.label}/{picture.name}.png"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.pixels).save(folder / path)
        slices.append((path, picture.slice, picture.patient, picture.label))
        if picture.outline is not None:
            outlines.append((path, format_outline(picture.outline)))
    for file, columns, rows in ((SLICES_FILE, SLICE_COLUMNS, slices), (OUTLINES_FILE, OUTLINE_COLUMNS, outlines)):
        place = folder / ANNOTATIONS_FOLDER / file
        before = [read_table(place, columns)] if place.is_file() else []
        write_csv(place, pd.concat([*before, pd.DataFrame(rows, columns=list(columns))]))
    return [path for path, *_ in slices]


def _targets(tree: Tree, name: str) -> dict[str, str]:
    """Where each image of the set goes, by its name in the tree.

    Raises:
        UserError: two images of one name and class.
    """
    targets: dict[str, str] = {}
    for found in map(PurePosixPath, tree.names):
        for label, pattern in EXTERNAL_SETS[name].names.items():
            if found.suffix.lower() in IMAGE_SUFFIXES and pattern.fullmatch(found.stem.lower()):
                target = f"{EXTERNAL_FOLDER}/{name}/{label}/{found.name}"
                if target in targets.values():
                    raise UserError(f"{tree.path} holds two images called {found.name}: remove one")
                targets[str(found)] = target
    return targets
