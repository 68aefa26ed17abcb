"""Clients that stall: how long the server waits for them, and how much it holds for them."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
"""A connection without a whole request head for so long is closed."""

ANSWER_SECONDS = 600.0
"""A connection whose request, with its answer, is not through after so long is closed."""


class Patience(H11Protocol):
    """HTTP/1.1 that closes connections whose clients do not come to the point; uvicorn waits for them for ever.

    The limits are of the class, so that a test can shorten them.
    """

    header_seconds = HEADER_SECONDS
    answer_seconds = ANSWER_SECONDS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._seen: tuple[Any, bool] = (None, True)  # the latest request, and whether it is answered
        self._since = self.loop.time()
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._timer.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        self._timer = self.loop.call_later(self.header_seconds / 4, self._look)

    def _look(self) -> None:
        cycle: Any = self.cycle
        answered = cycle is None or cycle.response_complete
        now = self.loop.time()
        if self._seen[0] is not cycle or self._seen[1] != answered:
            self._seen, self._since = (cycle, answered), now
        if now - self._since > (self.header_seconds if answered else self.answer_seconds):
            self.transport.abort()
        else:
            self._look_again()


class Full(Exception):
    """More is held than there is room for."""


class Room:
    """How many bytes of uploads are held at a time, by all clients together."""

    def __init__(self, size: int) -> None:
        """Args: bytes that fit."""
        self.free = size

    @contextmanager
    def held(self) -> Iterator[Callable[[int], None]]:
        """Room for one upload, given back at the end: a function that takes more bytes, or raises `Full`."""
        taken = 0

        def take(more: int) -> None:
            nonlocal taken
            if more > self.free:
                raise Full
            self.free -= more
            taken += more

        try:
            yield take
        finally:
            self.free += taken
