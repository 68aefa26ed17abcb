"""Writing that is whole or not there at all, and digests of what was read."""

import errno
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import platformdirs
import psutil

from brain_tumor.errors import UserError

_UNWRITABLE = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "no space left in the quota",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "not writable",
    errno.EPERM: "not writable",
}

_FULL = 2**20  # bytes that are free on a disk that is full

_TEMPORARY = f".writing-{hashlib.sha256(platform.node().encode()).hexdigest()[:8]}-"
"""What the names of unfinished files and folders begin with; the process that writes them follows."""

_open: set[str] = set()  # names of those of this process


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block ends well, else delete it.

    The temporary name keeps the suffix, because savers choose the format by it.

    Raises:
        UserError: `path` is a folder, or cannot be written.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, but a file is written there: move it away")
    with _temporary(path, lambda **name: tempfile.mkstemp(suffix=path.suffix, **name)) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut can leave an empty file under the new name
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; put it in the place of `path` if the block ends well.

    Raises:
        UserError: `path` is a file, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, but a folder is written there: move it away")
    with _temporary(path, lambda **name: (None, tempfile.mkdtemp(**name))) as temporary:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        if path.exists():
            shutil.rmtree(path)
        temporary.replace(path)


@contextmanager
def _temporary(path: Path, make: Callable[..., tuple[int | None, str]]) -> Iterator[Path]:
    """What `make` makes beside `path`, deleted at the end; a disk that does not take it is told in one line."""
    made: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path.parent)
        handle, name = make(prefix=f"{_TEMPORARY}{os.getpid()}-", dir=path.parent)
        if handle is not None:
            os.close(handle)
        made = Path(name)
        _open.add(made.name)
        yield made
    except UserError:
        raise
    except Exception as error:
        reason = _reason(error, path)
        if reason is None:
            raise
        raise UserError(f"{path} cannot be written: {reason}") from None
    finally:
        if made is not None:
            _delete(made)
            _open.discard(made.name)


def _reason(error: Exception, path: Path) -> str | None:
    """Why the disk does not take `path`; None where the error is another."""
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        elsewhere = error.filename is not None and not Path(os.fsdecode(error.filename)).is_relative_to(path.parent)
        return None if elsewhere and error.errno in (errno.EACCES, errno.EPERM) else _UNWRITABLE[error.errno]
    # Savers such as torch's hide the number of the error.
    return _UNWRITABLE[errno.ENOSPC] if shutil.disk_usage(path.parent).free < _FULL else None


def _clear_abandoned(folder: Path) -> None:
    """Delete what killed processes of this machine left unfinished in a folder."""
    for path in folder.glob(f"{_TEMPORARY}*"):
        process = int(path.name.removeprefix(_TEMPORARY).partition("-")[0])
        if path.name not in _open and (process == os.getpid() or not _runs(process)):
            _delete(path)


def _runs(process: int) -> bool:
    """Whether a process is at work: where its parent does not ask, a killed one stays on as a zombie."""
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in the order given, whole or not at all.

    Raises:
        ValueError: a NaN or an infinity in `value`; what is undefined is left out or None.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, without its index and to six digits, whole or not at all."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where downloads, features and unfinished runs are kept: `BRAIN_TUMOR_CACHE`, else in the user's cache folder."""
    return Path(environment.get("BRAIN_TUMOR_CACHE") or platformdirs.user_cache_path("brain-tumor", appauthor=False))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names and values of nested mappings; the names of a path are joined by dots."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def list_of(values: Mapping[str, Any]) -> pd.DataFrame:
    """Nested mappings as a table: `name`, `value`; None becomes an empty cell."""
    return pd.DataFrame(list(flattened(values)), columns=["name", "value"])
