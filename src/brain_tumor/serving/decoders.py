"""Uploads are decoded in processes that are killed where a file takes too long, and have little memory to take."""

import asyncio
import multiprocessing
import signal
import sys
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Self

import cv2
from pebble import ProcessExpired, ProcessPool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, create_form_parser

from brain_tumor.data.formats.decoding import pictures
from brain_tumor.data.formats.pixels import Picture
from brain_tumor.data.images import Reader
from brain_tumor.errors import UserError
from brain_tumor.serving.inputs import sent_together
from brain_tumor.serving.reading import read

PROCESSES = 4
"""So many files are decoded at a time, on any machine: a few slow ones leave room for others."""

DEADLINE = 10.0
"""Seconds for a file; the largest volume that is taken needs 3 on an idle machine of two cores."""

MEMORY = 2**30
"""Bytes that a process may take on top of what it starts with."""

DECODED = 2**28
"""Bytes of a volume once unpacked in single precision: 256 slices of 512 x 512. `predict` reads larger ones."""

NAME = "the file"
"""What messages call an upload; its name is not wanted."""


class Decoders:
    """Processes that turn uploads into pictures as a model takes them. Used with `async with`."""

    def __init__(self, reader: Reader) -> None:
        """Args: of the model."""
        self._reader = reader
        self._places = asyncio.Semaphore(PROCESSES)

    async def __aenter__(self) -> Self:
        self._pool = _pool()
        await asyncio.wrap_future(self._pool.schedule(int))  # they have started
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(_end, self._pool)

    async def read(self, content: bytes | bytearray, content_type: str) -> list[Picture]:
        """The pictures of a file.

        Args:
            content: a file, or a form with one, or with the DICOM files of a series.
            content_type: as the request has it; a form is recognised by it.

        Raises:
            UserError: the file cannot be read, or not with so much time and memory.
        """
        async with self._places:
            if not self._pool.active:  # a process was killed from outside while it had nothing to do
                broken, self._pool = self._pool, _pool()
                await asyncio.to_thread(_end, broken)
            task = self._pool.schedule(_read, [self._reader, content, content_type], timeout=DEADLINE)
            try:
                return await asyncio.wrap_future(task)
            except TimeoutError:
                raise UserError(f"{NAME} takes more than {DEADLINE:g} seconds to decode: save it anew") from None
            except (ProcessExpired, BrokenProcessPool):
                raise UserError(f"{NAME} was lost with the process that decodes it: save it anew") from None


def _pool() -> ProcessPool:
    return ProcessPool(PROCESSES, initializer=_limit, initargs=[MEMORY], context=_context())


def _end(pool: ProcessPool) -> None:
    """Kill the processes of a pool, whatever they do."""
    pool.stop()  # type: ignore[no-untyped-call]
    pool.join()


def _context() -> BaseContext:
    """A clean process that has all imports and forks others, where the system has that: a new one takes no time."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _limit(memory: int) -> None:
    """Make this process end at once when it is told to, and limit its memory where the system can: on Linux."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the pool's own handler waits until a decoder returns
    cv2.setNumThreads(1)
    if sys.platform == "linux":
        import resource

        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory, taken + memory))


def _read(reader: Reader, content: bytes | bytearray, content_type: str) -> list[Picture]:
    form = content_type.lower().startswith("multipart/form-data")
    first, *others = _sent(content, content_type) if form else [content]
    found = sent_together([bytes(first), *others], DECODED) if others else pictures(NAME, first, DECODED)
    return read(reader, NAME, found)


def _sent(content: bytes | bytearray, content_type: str) -> list[bytes]:
    """The files of a form, at least one.

    Raises:
        UserError: no form, or no file in it.
    """
    files: list[File] = []
    try:
        # Kept in memory, because nothing that is sent is stored.
        parser = create_form_parser(
            {"Content-Type": content_type.encode()}, None, files.append, {"MAX_MEMORY_FILE_SIZE": len(content)}
        )
        parser.write(bytes(content))
        parser.finalize()
    except FormParserError as error:
        raise UserError(f"the form cannot be read ({error}): send the file as the body") from None
    if not files:
        raise UserError("the form has no file: send one")
    for file in files:
        file.file_object.seek(0)
    return [file.file_object.read() for file in files]
