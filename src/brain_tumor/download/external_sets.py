"""External data sets beside the main one: a table, one row each."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from brain_tumor.data.catalog import EXTERNAL_FOLDER, HEALTHY, IMAGE_SUFFIXES, TUMOUR
from brain_tumor.data.images import read_images
from brain_tumor.download.archives import Tree, copy_files, existing, named_as, open_tree
from brain_tumor.download.kaggle import download
from brain_tumor.errors import UserError

_CHECK_SIZE = 32  # pixels a side when an image is read only to see that it can be

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExternalSet:
    """What the project must know of an external set.

    Attributes:
        handle: on Kaggle.
        variable: of the environment, names an archive or folder with the set or some of it.
        names: for each class a pattern of the file names that belong to it, in whatever folder; others stay behind.
        published: how many images of each class there are.
    """

    handle: str
    variable: str
    names: Mapping[str, re.Pattern[str]]
    published: Mapping[str, int]


EXTERNAL_SETS: Mapping[str, ExternalSet] = {
    "br35h": ExternalSet(
        handle="ahmedhamada0/brain-tumor-detection",
        variable="BRAIN_TUMOR_DATA_BR35H",
        names={TUMOUR: re.compile(r"y\d+"), HEALTHY: re.compile(r"no ?\d+")},
        published={TUMOUR: 1500, HEALTHY: 1500},
    ),
}


def fetch_external(folder: Path, name: str, place: Path | None) -> None:
    """Put the images of an external set below `folder`, as `additional/NAME/CLASS/FILE`.

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
    with open_tree(source) as tree:
        targets = _targets(tree, name)
        if not targets:
            raise UserError(f"{source} holds no images of {name}: expected names such as y12.jpg, as in {known.handle}")
        copy_files(tree, targets, folder)
    counts = Counter(PurePosixPath(path).parts[2] for path in targets.values())
    said = ", ".join(f"{counts[label]:,} of {total:,} {label}" for label, total in known.published.items())
    log.info("%s: %s", name, said)
    with named_as(folder, source):
        read_images([folder / path for path in targets.values()], _CHECK_SIZE)


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
