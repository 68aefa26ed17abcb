"""Where the images of a data set lie in its folder or archive, and where they go in `data/raw`."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from brain_tumor.data.annotations import OUTLINES_FILE, SLICES_FILE
from brain_tumor.data.catalog import (
    ANNOTATIONS_FOLDER,
    CLASSES,
    FOLDER_NAMES,
    HEALTHY,
    IMAGE_SUFFIXES,
    TESTING,
    TRAINING,
)
from brain_tumor.download.archives import Tree
from brain_tumor.errors import UserError

_logger = logging.getLogger(__name__)

_MASK = re.compile(r"[ _-]mask([ _-]?\d+)?$", re.IGNORECASE)
"""How the name of a picture's mask ends: `7_mask.png` beside `7.jpg`, or several, `7_mask_1.png`."""

PATIENTS_FILE = "patients.csv"
"""Beside the class folders, or those of splits: the columns `image`, a path in the set, and `patient`."""

_NO_TUMOUR = frozenset({"no", "healthy", "normal"})
"""Names of the class without a tumour, less `tumor`, in lower case and without spaces."""


def image_targets(tree: Tree, classes: Mapping[str, str] = {}) -> dict[str, str]:  # nothing changes it
    """Every image below the root of the set, with its place in `data/raw`: `Training/CLASS/FILE` or `CLASS/FILE`.

    A folder that wraps the set, what lies beside it, and masks do not count.

    Args:
        tree: the set.
        classes: names of class folders that are not understood, with the class of each.

    Raises:
        UserError: no set, several, an image at another place, a class folder of unknown name, or two images that go
            to one place.
    """
    root = root_of(tree, classes)
    paths = map(PurePosixPath, tree.names)
    inside = {str(path): path.relative_to(root) for path in paths if path.is_relative_to(root)}
    masks = set(mask_targets(inside))
    images = {name: path for name, path in inside.items() if path.suffix.lower() in IMAGE_SUFFIXES}
    others = sorted(
        str(path)
        for name, path in inside.items()
        if name not in images and path.parts[0] != ANNOTATIONS_FOLDER and path.name.lower() != PATIENTS_FILE
    )
    if others:
        _logger.info("%s: %d files are no images and stay behind, the first is %s", tree.path, len(others), others[0])
    published = any(_folder_of(path.parts[0]) for path in images.values())
    targets = {name: _target(tree, path, classes, published) for name, path in images.items() if name not in masks}
    unknown = sorted({PurePosixPath(target).parent.name for target in targets.values()} - {*CLASSES})
    if unknown:
        names, known = ", ".join(unknown), ", ".join(CLASSES)
        raise UserError(
            f"{tree.path}: unknown class folders: {names}: map each to one of {known} in download.classes; "
            "every class needs images"
        )
    if strange := next((name for name in targets if not _is_unicode(name)), None):
        raise UserError(f"{tree.path}: the name of {strange} is not in UTF-8: rename it")
    places: dict[str, str] = {}
    for name, target in targets.items():
        if (other := places.setdefault(target, name)) != name:
            raise UserError(f"{tree.path}: {other} and {name} both become {target}: rename one")
    return targets


def mask_targets(names: Iterable[str]) -> dict[str, str]:
    """The masks among files, each with the name of its picture."""
    paths = [PurePosixPath(name) for name in names]
    pictures = {str(path.with_suffix("")): str(path) for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
    return {
        str(path): pictures[own]
        for path in paths
        if _MASK.search(path.stem) and (own := _MASK.sub("", str(path.with_suffix("")))) in pictures
    }


def annotation_targets(tree: Tree, classes: Mapping[str, str]) -> dict[str, str]:
    """The annotations below the root of the set, likewise."""
    paths = [f"{ANNOTATIONS_FOLDER}/{name}" for name in (SLICES_FILE, OUTLINES_FILE)]
    return {name: path for path in paths if (name := str(root_of(tree, classes) / path)) in tree.names}


def class_named(folder: str, classes: Mapping[str, str] = {}) -> str | None:  # nothing changes it
    """The class that a folder's name means, such as `glioma_tumor`, `No Tumor`; None for an unknown name."""
    if folder in classes:
        return classes[folder]
    plain = re.sub(r"[\s_-]+|tumou?r", "", folder.lower())
    return HEALTHY if plain in _NO_TUMOUR else next((name for name in CLASSES if name == plain), None)


def roots(names: Iterable[str], classes: Mapping[str, str] = {}) -> list[PurePosixPath]:  # as above
    """The folders, as high up as possible, that hold folders of splits, or class folders with images."""
    found: set[PurePosixPath] = set()
    for path in map(PurePosixPath, names):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            known = (folder for folder in path.parents if _folder_of(folder.name) or class_named(folder.name, classes))
            found.update(folder.parent for folder in known)
    return sorted(root for root in found if found.isdisjoint(root.parents))


def root_of(tree: Tree, classes: Mapping[str, str]) -> PurePosixPath:
    """The folder of the one set in a tree.

    Raises:
        UserError: no set, or several.
    """
    found = roots(tree.names, classes)
    if not found:
        image = next((name for name in tree.names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES), None)
        problem = f": no folder is named after a class, as that of {image}"
        if not image:
            other = f"; it holds {min(tree.names)}" if tree.names else ""
            problem = f" holds no images, which end in {', '.join(sorted(IMAGE_SUFFIXES))}{other}"
        raise UserError(
            f"{tree.path}{problem}: expected folders {', '.join(CLASSES)}, or {TRAINING} and {TESTING} with these "
            "inside; download.classes maps other names"
        )
    if len(found) > 1:
        raise UserError(f"{tree.path} holds several sets, {found[0]} and {found[1]}: name one of them")
    return found[0]


def _is_unicode(name: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in name)  # how Python keeps bytes that are no text


def _folder_of(name: str) -> str | None:
    return next((folder for folder, names in FOLDER_NAMES.items() if name.lower() in names), None)


def _target(tree: Tree, path: PurePosixPath, classes: Mapping[str, str], published: bool) -> str:
    folder = _folder_of(path.parts[0]) if published else ""
    depth = 3 if published else 2
    if len(path.parts) != depth or folder is None:
        form = f"{TRAINING} or {TESTING}/CLASS/FILE" if published else "CLASS/FILE"
        raise UserError(f"{tree.path}: {path} is not of the form {form}: move it")
    return str(PurePosixPath(folder, class_named(path.parts[-2], classes) or path.parts[-2], path.name))
