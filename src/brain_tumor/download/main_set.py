"""Where a data set comes from: Kaggle, an archive, a folder, or the drawing board.

`download.dataset` says which images the study rests on. How they travel is the caller's affair: the same content
arrives from an archive, a folder or Kaggle, and is checked before anything rests on it.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from brain_tumor.data.catalog import main_set, read_catalog
from brain_tumor.download.archives import copy_files, existing, open_tree
from brain_tumor.download.external_sets import fetch_external
from brain_tumor.download.figshare import download_figshare, write_annotations
from brain_tumor.download.kaggle import download
from brain_tumor.download.layout import image_targets, roots
from brain_tumor.download.own_set import check_annotations, fetch_own_set
from brain_tumor.download.phantom.write import write_phantom
from brain_tumor.errors import UserError
from brain_tumor.files import atomic_folder, cache_folder, file_digest
from brain_tumor.params import MAIN_SET, PHANTOM, DownloadParams
from brain_tumor.progress import progress

KAGGLE_HANDLE = "masoudnickparvar/brain-tumor-mri-dataset/versions/1"

MAIN_SET_DIGEST = "ae0a5d963549e9a7165200560ba21d759bb8fb1047f116ed9f710151269dcc78"
"""`content_digest` of the 7,023 images of `MAIN_SET`."""

MANIFEST = Path(__file__).parent / "manifests" / f"{MAIN_SET}.txt"
"""A line for each image of `MAIN_SET`: the first 16 digits of its SHA-256, two spaces, its path.

It tells what differs in another version; the proof is `MAIN_SET_DIGEST`.
"""


@dataclass(frozen=True)
class Transport:
    """How the bytes come here; two users with different transports get the same data set.

    Attributes:
        data: archive or folder of the main set; None to look into `external`, then to ask Kaggle.
        annotations: folder or archive with the annotations of the main set, see `write_annotations`; None to ask
            figshare.
        additional: for each external set the archive or folder; None to ask Kaggle.
        external: folder of the project where a user may have put the main set.
    """

    data: Path | None
    annotations: Path | None
    external: Path
    additional: Mapping[str, Path | None] = field(default_factory=dict)


def fetch_dataset(target: Path, params: DownloadParams, seed: int, transport: Transport) -> pd.DataFrame:
    """Put a data set into `target`, whole and checked, or leave no `target` behind.

    Args:
        target: the folder to make; what is there is replaced.
        params: which data set.
        seed: of the phantom.
        transport: where to look for the main set and its annotations.

    Returns:
        The catalog, see `read_catalog`.

    Raises:
        UserError: the set cannot be reached, is another version, is damaged, or has a layout, class or file that
            cannot be read.
    """
    with atomic_folder(target) as folder:
        if params.dataset == MAIN_SET:
            source = _locate_main_set(transport)
            annotations = _locate_annotations(transport) if params.annotations else None
            _fetch_main_set(folder, source)
            if annotations:
                write_annotations(annotations, folder)
                check_annotations(folder, annotations)
            for name in params.additional:
                fetch_external(folder, name, transport.additional.get(name))
        elif params.dataset == PHANTOM:
            write_phantom(folder, seed=seed)
        else:
            fetch_own_set(folder, _own_place(params.dataset), params.classes)
        catalog = read_catalog(folder)
        _check_digest(catalog, params)
    return catalog


def content_digest(images: pd.DataFrame) -> str:
    """Digest of a set of images that depends on paths and bytes and on nothing else.

    Args:
        images: a row an image, with the columns `path` and `digest` (SHA-256 of the file).

    Returns:
        SHA-256 over the lines `DIGEST  PATH`, sorted by path; 64 hexadecimal digits.
    """
    rows = sorted(zip(images["path"], images["digest"], strict=True))
    return hashlib.sha256("".join(f"{digest}  {path}\n" for path, digest in rows).encode()).hexdigest()


def _fetch_main_set(folder: Path, source: Path) -> None:
    with open_tree(source) as tree:
        targets = image_targets(tree)
        copy_files(tree, targets, folder, progress(f"copy {MAIN_SET}"))
    paths = sorted(targets.values())
    images = pd.DataFrame({"path": paths, "digest": [file_digest(folder / path) for path in paths]})
    if content_digest(images) != MAIN_SET_DIGEST:
        raise UserError(_difference(source, dict(zip(images["path"], images["digest"], strict=True))))


def _locate_main_set(transport: Transport) -> Path:
    if transport.data:
        return existing("BRAIN_TUMOR_DATA", transport.data)
    for candidate in [transport.external, *sorted(transport.external.glob("*"))]:
        if candidate.is_dir() or candidate.suffix == ".zip":
            with open_tree(candidate) as tree:
                found = roots(tree.names)
                if len(found) == 1 and not {str(found[0] / path) for path in _read_manifest()}.isdisjoint(tree.names):
                    return candidate
    return download(
        KAGGLE_HANDLE,
        f"set BRAIN_TUMOR_DATA to the archive or folder of {KAGGLE_HANDLE}, or put either into data/external/",
    )


def _difference(source: Path, digests: Mapping[str, str]) -> str:
    """How a set differs from the version that the project knows, and what to do, in one line."""
    known = _read_manifest()
    found = {path: "extra" for path in digests if path not in known}
    found |= {path: "missing" for path in known if path not in digests}
    found |= {path: "differs" for path in known if path in digests and not digests[path].startswith(known[path])}
    counts = Counter(found.values())
    first = min(found)
    return (
        f"{source} is not the version of {MAIN_SET} with {len(known):,} images: {counts['differs']:,} files differ, "
        f"{counts['missing']:,} are missing, {counts['extra']:,} are extra, the first is {first} ({found[first]}): get "
        f"{KAGGLE_HANDLE} anew, or name the path in download.dataset to use it as a set of your own"
    )


def _read_manifest() -> dict[str, str]:
    """The first digits of the digest of each image of the main set, by path."""
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _locate_annotations(transport: Transport) -> Path:
    if transport.annotations is None:
        return download_figshare(cache_folder() / "figshare")
    return existing("BRAIN_TUMOR_ANNOTATIONS", transport.annotations)


def _own_place(dataset: str) -> Path:
    place = Path(dataset).expanduser()
    if not place.exists():
        raise UserError(
            f"download.dataset: {place.absolute()} is not there: expected {MAIN_SET}, {PHANTOM}, or the path of a "
            "folder or zip archive"
        )
    return place


def _check_digest(catalog: pd.DataFrame, params: DownloadParams) -> None:
    digest = content_digest(main_set(catalog))
    if params.digest is not None and params.digest != digest:
        raise UserError(
            f"download.digest is {params.digest}, but the content of {params.dataset} is {digest}: bring back the "
            "files that the results rest on, or write the new value"
        )
