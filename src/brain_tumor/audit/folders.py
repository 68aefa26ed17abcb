"""Which folders and files an audit reads."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from brain_tumor.data import catalog
from brain_tumor.data.catalog import IMAGE_SUFFIXES, SPLITS, TEST, TRAIN, VALIDATION
from brain_tumor.data.images import Pixels, decode
from brain_tumor.download.layout import mask_targets
from brain_tumor.duplicates.views import looks_at
from brain_tumor.errors import UserError
from brain_tumor.files import file_digest

FOLDER_NAMES = dict(zip(SPLITS, catalog.FOLDER_NAMES.values(), strict=True))
"""The names of the folder of each split, in lower case."""


def find_folders(folder: Path, train: str | None = None, test: str | None = None) -> dict[str, Path]:
    """Find the folders of the splits.

    Args:
        folder: holds them.
        train: that of the train images, relative to `folder`; by default found by name.
        test: likewise.

    Returns:
        The folder of each split that is there, relative to `folder`, in the order of `SPLITS`: train, and test or
        validation or both.

    Raises:
        UserError: `folder` or a folder named is not there, none or several are found, or one lies in another.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name one that holds folders of train and test images")
    found = {split: Path(name) for split, name in ((TRAIN, train), (TEST, test)) if name is not None}
    for split, place in found.items():
        if not (folder / place).is_dir():
            raise UserError(f"{folder / place} is no folder: --{split} names one relative to {folder}")
    taken = {(folder / place).resolve() for place in found.values()}
    for split in SPLITS:
        if split not in found:
            places = [place for place in _named(folder, FOLDER_NAMES[split]) if (folder / place).resolve() not in taken]
            if len(places) > 1:
                remedy = "rename one" if split == VALIDATION else f"name one with --{split}"
                raise UserError(f"{folder}: {' and '.join(map(str, places))} may both be {split}: {remedy}")
            if places:
                found[split] = places[0]
    for split, enough in ((TRAIN, {TRAIN}), (TEST, {TEST, VALIDATION})):
        if not enough & found.keys():
            names = ", ".join(name for known in SPLITS if known in enough for name in FOLDER_NAMES[known])
            raise UserError(f"{folder}: no folder of {split} images, looked for {names}: name it with --{split}")
    folders = {split: found[split] for split in SPLITS if split in found}
    for split, place in folders.items():
        for other, outer in folders.items():
            if split != other and (folder / place).resolve().is_relative_to((folder / outer).resolve()):
                raise UserError(f"{folder / place} ({split}) lies in {folder / outer} ({other}): name other folders")
    return folders


def list_files(folder: Path, place: Path) -> tuple[list[str], int]:
    """Sorted paths of the images below `folder / place`, relative to `folder`, and the number of other files.

    Masks beside their pictures count as others. Linked folders are followed, because an audit that passes them over
    would call a set clean that it has not seen.
    """
    paths, others, seen = [], 0, set()
    for current, folders, names in os.walk(folder / place, onerror=_refuse, followlinks=True):
        real = os.path.realpath(current)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = place / Path(current).relative_to(folder / place)
        masks = mask_targets(names)
        for name in names:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".") and name not in masks:
                paths.append((below / name).as_posix())
            elif not name.startswith("."):
                others += 1
    if not paths:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{folder / place} holds no images: expected files that end in {suffixes}")
    return sorted(paths), others


def class_of(path: str, place: Path) -> str:
    """The first folder of `path` below `place`, empty where the file lies in `place` itself."""
    below = Path(path).relative_to(place).parts
    return below[0] if len(below) > 1 else ""


def read_files(
    folder: Path, paths: list[str], looks: Pixels, progress: Callable[[list[str]], Iterable[str]]
) -> tuple[list[str], dict[str, str]]:
    """Read files into the first rows of `looks`, see `looks_at`; those that cannot be read take no row.

    Returns:
        The digest of each file, empty for one that cannot be read, and the reasons by path.
    """

    def read(path: str) -> tuple[str, Pixels] | UserError:
        try:
            return file_digest(folder / path), looks_at(decode(folder / path))
        except UserError as error:
            return error
        except OSError as error:
            return UserError(f"{folder / path} cannot be read ({error.strerror}): replace or remove it")

    digests, reasons, row = [], {}, 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, answer in zip(progress(paths), pool.map(read, paths), strict=True):
            if isinstance(answer, UserError):
                reasons[path] = str(answer)
                digests.append("")
            else:
                digests.append(answer[0])
                looks[row] = answer[1]
                row += 1
    return digests, reasons


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    folders = next(os.walk(folder, onerror=_refuse))[1]
    return [Path(name) for name in sorted(folders) if name.lower() in names]


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be listed ({error.strerror}): make it readable or remove it") from None
