"""A folder or a zip archive, listed and read alike, with nothing trusted that an archive says about itself."""

import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from brain_tumor.errors import UserError

MAX_FILE_BYTES = 512 * 2**20
"""Larger files are refused: an uncompressed picture of the largest size that is read has 256 MiB."""

MAX_TOTAL_BYTES = 64 * 2**30
"""Larger archives are refused, whatever the disk holds."""

MOST_PACKED = 100
"""Times that an archive of pictures may grow when it is unpacked, where it grows beyond a few of the largest."""

_CHUNK = 2**20

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeDecodeError)
"""What zipfile raises for an archive that is cut off, altered, or packed by a method that it does not know."""


@dataclass(frozen=True)
class Tree:
    """Files below a root. Hidden files, and the folder that macOS adds to archives, are not listed.

    Attributes:
        path: the folder or archive, for messages.
        names: paths relative to the root, with forward slashes, sorted.
        open: opens a file of `names` for reading.
    """

    path: Path
    names: list[str]
    open: Callable[[str], IO[bytes]]


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder or a zip archive.

    Raises:
        UserError: neither of both, not readable, damaged, encrypted, of absurd size, or with entries outside its
            folder; damage may show only when a file is read within the `with` block.
    """
    try:
        if path.is_dir():
            files = [file.relative_to(path) for file in _walk(path)]
            yield Tree(path, _visible(file.as_posix() for file in files), lambda name: (path / name).open("rb"))
            return
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(path, entries)
            places = {_place(entry): entry for entry in entries}
            # zipfile never gives more bytes than the directory declares, which was checked
            yield Tree(path, _visible(places), lambda name: archive.open(places[name]))
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is no zip archive or a damaged one ({reason}): get it again") from None
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be read or copied: {error.strerror or error}") from None


def existing(variable: str, place: Path) -> Path:
    """The archive or folder that a variable of the environment names.

    Raises:
        UserError: it is not there.
    """
    if not place.exists():
        raise UserError(f"{variable}: {place.absolute()} is not there: name an archive or a folder")
    return place


@contextmanager
def named_as(folder: Path, source: Path) -> Iterator[None]:
    """In messages, name the place that the user knows instead of the folder to which it was copied."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(folder), str(source))) from None


def copy_files(
    tree: Tree,
    targets: Mapping[str, str],
    folder: Path,
    progress: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> None:
    """Copy files of a tree into a folder.

    Args:
        tree: where they are.
        targets: for each name in the tree the path below `folder`.
        folder: exists.
        progress: wraps the names, for example a `tqdm` bar.

    Raises:
        UserError: a file larger than `MAX_FILE_BYTES`.
    """
    for name in progress(targets):
        target = folder / targets[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with tree.open(name) as source, target.open("wb") as copy:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                if size > MAX_FILE_BYTES:
                    raise UserError(f"{tree.path}: {name} has more than {MAX_FILE_BYTES:,} bytes: remove it")
                copy.write(chunk)


def _check_entries(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    names: set[str] = set()
    for entry in entries:
        name = _place(entry)
        # zipfile cuts a name at NUL, its original stays.
        if _leaves_folder(entry.filename) or "\0" in entry.orig_filename:
            name = entry.orig_filename
            raise UserError(f"{path}: the entry {name!r} lies outside the archive's folder: do not use this archive")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise UserError(f"{path}: the entry {name!r} is a link, only files are read: pack it anew")
        if entry.flag_bits & 0x1:
            raise UserError(f"{path}: the entry {name!r} is encrypted: unpack it and name the folder")
        if entry.file_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: the entry {name!r} has {entry.file_size:,} bytes, at most {MAX_FILE_BYTES:,}")
        if name in names:
            raise UserError(f"{path}: the entry {name!r} is there twice: pack it anew")
        names.add(name)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        raise UserError(f"{path}: {total:,} bytes when unpacked, at most {MAX_TOTAL_BYTES:,}: do not use this archive")
    if total > max(MAX_FILE_BYTES / 2, MOST_PACKED * path.stat().st_size):
        raise UserError(f"{path}: {total:,} bytes when unpacked, which no pictures are: do not use this archive")
    for name in sorted(names):
        for parent in PurePosixPath(name).parents:
            if str(parent) in names:
                raise UserError(f"{path}: the entry {str(parent)!r} is a file and a folder: pack it anew")


def _place(entry: zipfile.ZipInfo) -> str:
    """Where an entry lies: `a/./b` and `a//b` are one place."""
    return str(PurePosixPath(entry.filename))


def _leaves_folder(name: str) -> bool:
    parts = re.split(r"[/\\]", name)
    return not name or not parts[0] or ".." in parts or ":" in parts[0]


def _visible(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not re.search(r"(^|/)(\.|__MACOSX(/|$))", name))


def _walk(root: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for top, folders, files in os.walk(root, onerror=fail, followlinks=True):
        here = Path(top).resolve()
        folders[:] = [name for name in folders if not here.is_relative_to((Path(top) / name).resolve())]
        for name in files:
            path = Path(top) / name
            if path.is_file() or path.is_symlink():
                yield path
