"""Many files through a predictor: decoded in parallel while the network runs, in order, in constant memory."""

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from brain_tumor.errors import UserError
from brain_tumor.serving.inputs import SUFFIXES, Picture, read_bytes
from brain_tumor.serving.predictor import BATCH, Prediction, Predictor

OVERLAY = ("brain-tumor", "overlay")
"""Key and text in the header of the PNG files that `predict --heatmap` writes, which differ from pictures by it."""


@dataclass(frozen=True)
class Answer:
    """What became of a file.

    Attributes:
        path: the file.
        predictions: one a picture in it; none where it could not be read.
        pictures: those in it, as the model saw them.
        error: why it could not be read; empty where it could.
    """

    path: Path
    predictions: tuple[Prediction, ...]
    pictures: tuple[Picture, ...]
    error: str = ""


def expand(names: Iterable[str]) -> Iterator[Path]:
    """Files that are named: each by itself, all with a known suffix in a folder and below, or those a glob fits.

    Folders are walked in the order of their names; hidden files and folders are passed over, and overlays that
    `predict --heatmap` wrote in folders and for globs.

    Args:
        names: files, folders, or globs (`**` for folders of any depth).

    Returns:
        Files, one at a time; a name that fits nothing is passed on, so that reading it tells so.
    """
    for name in names:
        path = Path(name)
        if path.is_dir():
            yield from _walk(path)
        elif path.exists() or not glob.has_magic(name):
            yield path
        else:
            found = False
            for match in glob.iglob(name, recursive=True):  # noqa: PTH207 (Path.glob takes no absolute pattern)
                if Path(match).is_file() and not is_overlay(Path(match)):
                    found = True
                    yield Path(match)
            if not found:
                yield path


def answers(predictor: Predictor, paths: Iterable[Path]) -> Iterator[Answer]:
    """Read, prepare and predict files, in order.

    While a batch is in the network the files of the next ones are decoded in threads; no more than four batches of
    files are in memory.

    Args:
        predictor: a model.
        paths: may be endless.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[Future[Answer]] = deque()
        remaining = iter(paths)
        batch: list[Answer] = []
        try:
            while True:
                for path in islice(remaining, 3 * BATCH - len(waiting)):
                    waiting.append(pool.submit(_read, predictor, path))
                if waiting:
                    batch.append(waiting.popleft().result())
                if batch and (not waiting or sum(len(answer.pictures) for answer in batch) >= BATCH):
                    yield from _predict(predictor, batch)
                    batch = []
                elif not waiting:
                    return
        finally:
            pool.shutdown(cancel_futures=True)


def is_overlay(path: Path) -> bool:
    """Whether a file is a PNG with the mark `OVERLAY`."""
    try:
        with path.open("rb") as file:
            return "\0".join(OVERLAY).encode() in file.read(128)
    except OSError:  # reading it tells so
        return False


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if (
                not name.startswith(".")
                and name.lower().endswith(tuple(SUFFIXES))
                and not is_overlay(Path(place, name))
            ):
                yield Path(place, name)


def _read(predictor: Predictor, path: Path) -> Answer:
    try:
        return Answer(path, (), tuple(predictor.read(str(path), read_bytes(path))))
    except UserError as error:
        return Answer(path, (), (), str(error))


def _predict(predictor: Predictor, batch: Sequence[Answer]) -> Iterator[Answer]:
    """The answers with their predictions; pictures of several files share a batch of the network."""
    predictions = iter(predictor.predict([picture for answer in batch for picture in answer.pictures]))
    for answer in batch:
        yield Answer(answer.path, tuple(islice(predictions, len(answer.pictures))), answer.pictures, answer.error)
