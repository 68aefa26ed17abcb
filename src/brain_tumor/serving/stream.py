"""Many files through a predictor: decoded in parallel while the network runs, in order, in constant memory."""

import glob
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from brain_tumor.data.formats.decoding import is_picture
from brain_tumor.data.formats.pixels import Picture
from brain_tumor.download.layout import mask_targets
from brain_tumor.errors import UserError, printable
from brain_tumor.serving.inputs import SUFFIXES, Source, sources
from brain_tumor.serving.predictor import BATCH, Prediction, Predictor
from brain_tumor.serving.reading import read

OVERLAY = ("brain-tumor", "overlay")
"""Key and text in the header of the PNG files that `predict --heatmap` writes, which differ from pictures by it."""


@dataclass(frozen=True)
class Answer:
    """What became of a file, or of a series of them.

    Attributes:
        name: of the source.
        predictions: one a picture in it; none where it could not be read.
        pictures: those in it, as the model saw them.
        error: why it could not be read; empty where it could.
    """

    name: str
    predictions: tuple[Prediction, ...]
    pictures: tuple[Picture, ...]
    error: str = ""


def expand(names: Iterable[str]) -> Iterator[Path]:
    """Files that are named: each by itself, all pictures in a folder and below, or those a glob fits.

    Folders are walked in the order of their names. What is no picture by its content and has no `SUFFIXES`, and masks
    beside their pictures, are passed over and counted on stderr; so are, without a word, hidden files and folders, and
    overlays that `predict --heatmap` wrote, these for globs too.

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
    """Read, prepare and predict files, in order; those of a DICOM series in one folder as one volume.

    While a batch is in the network the files of the next ones are decoded in threads; no more than four batches of
    files are in memory.

    Args:
        predictor: a model.
        paths: of files; those of a folder come one after another.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting: deque[Future[Answer]] = deque()
        folders = groupby(paths, lambda path: path.parent)
        remaining = (source for _, files in folders for source in sources(files))
        batch: list[Answer] = []
        try:
            while True:
                for source in islice(remaining, 3 * BATCH - len(waiting)):
                    waiting.append(pool.submit(_read, predictor, source))
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
    if not path.is_file():  # to open a named pipe would wait for who writes into it
        return False
    try:
        with path.open("rb") as file:
            return "\0".join(OVERLAY).encode() in file.read(128)
    except OSError:  # reading it tells so
        return False


def _walk(folder: Path) -> Iterator[Path]:
    passed_over = []
    for place, folders, files in os.walk(folder, onerror=lambda error: passed_over.append(error.filename)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        masks = mask_targets(files)
        for path in (Path(place, name) for name in sorted(files) if not name.startswith(".")):
            if is_overlay(path):
                continue
            if path.name in masks:
                passed_over.append(path)
            elif is_picture(path) or path.name.lower().endswith(tuple(SUFFIXES)):
                yield path
            else:
                passed_over.append(path)
    if passed_over:
        what = f"{len(passed_over):,} passed over, no pictures, masks or not readable, the first is {passed_over[0]}"
        print(printable(f"{folder}: {what}"), file=sys.stderr)


def _read(predictor: Predictor, source: Source) -> Answer:
    try:
        return Answer(source.name, (), tuple(read(predictor.exported.reader, source.name, source.pictures())))
    except UserError as error:
        return Answer(source.name, (), (), str(error))


def _predict(predictor: Predictor, batch: Sequence[Answer]) -> Iterator[Answer]:
    """The answers with their predictions; pictures of several files share a batch of the network."""
    predictions = iter(predictor.predict([picture for answer in batch for picture in answer.pictures]))
    for answer in batch:
        yield Answer(answer.name, tuple(islice(predictions, len(answer.pictures))), answer.pictures, answer.error)
