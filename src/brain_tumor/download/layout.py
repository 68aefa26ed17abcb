"""Where the images of a data set lie in its folder or archive, and where they go in `data/raw`."""

import logging
from collections.abc import Iterable
from pathlib import PurePosixPath

from brain_tumor.data.annotations import OUTLINES_FILE, SLICES_FILE
from brain_tumor.data.catalog import ANNOTATIONS_FOLDER, CLASSES, IMAGE_SUFFIXES, TESTING, TRAINING
from brain_tumor.download.archives import Tree
from brain_tumor.errors import UserError

_logger = logging.getLogger(__name__)


def image_targets(tree: Tree) -> dict[str, str]:
    """Every image below the root of the set, with its path relative to that root.

    A folder that wraps the set, and what lies beside it, does not count.

    Raises:
        UserError: no set, or several.
    """
    root = _root(tree)
    paths = map(PurePosixPath, tree.names)
    inside = {str(path): path.relative_to(root) for path in paths if path.is_relative_to(root)}
    images = {name: str(path) for name, path in inside.items() if path.suffix.lower() in IMAGE_SUFFIXES}
    others = sorted(
        str(path) for name, path in inside.items() if name not in images and path.parts[0] != ANNOTATIONS_FOLDER
    )
    if others:
        _logger.info("%s: %d files are no images and stay behind, the first is %s", tree.path, len(others), others[0])
    return images


def annotation_targets(tree: Tree) -> dict[str, str]:
    """The annotations below the root of the set, likewise."""
    paths = [f"{ANNOTATIONS_FOLDER}/{name}" for name in (SLICES_FILE, OUTLINES_FILE)]
    return {name: path for path in paths if (name := str(_root(tree) / path)) in tree.names}


def check_layout(tree: Tree, images: Iterable[str]) -> None:
    """Every image lies where `read_catalog` looks, so that none is left out in silence.

    Raises:
        UserError: one that does not.
    """
    paths = [PurePosixPath(path) for path in images]
    published = {TRAINING, TESTING} & {path.parts[0] for path in paths}
    form, depth = (f"{TRAINING} or {TESTING}/CLASS/FILE", 3) if published else ("CLASS/FILE", 2)
    for path in paths:
        if len(path.parts) != depth or (published and path.parts[0] not in published):
            raise UserError(f"{tree.path}: {path} is not of the form {form}: move it")


def roots(names: Iterable[str]) -> list[PurePosixPath]:
    """The folders, as high up as possible, that hold `Training`, `Testing` or a class folder with images."""
    known = {TRAINING, TESTING, *CLASSES}
    found: set[PurePosixPath] = set()
    for path in map(PurePosixPath, names):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.update(folder.parent for folder in path.parents if folder.name in known)
    return sorted(root for root in found if found.isdisjoint(root.parents))


def _root(tree: Tree) -> PurePosixPath:
    found = roots(tree.names)
    if not found:
        raise UserError(
            f"{tree.path} holds no images: expected folders {', '.join(CLASSES)}, or {TRAINING} and {TESTING} "
            "with these inside"
        )
    if len(found) > 1:
        raise UserError(
            f"{tree.path} holds several sets, {found[0]} and {found[1]}: name one of them, or call the two folders "
            f"{TRAINING} and {TESTING}"
        )
    return found[0]
