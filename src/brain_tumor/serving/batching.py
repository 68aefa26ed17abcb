"""Requests that come together are run as one batch."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from brain_tumor.data.formats.pixels import Picture
from brain_tumor.serving.predictor import BATCH, Prediction, Predictor

WAITING = 256
"""So many requests may wait for the network."""


class Busy(Exception):
    """More requests wait than are taken."""


@dataclass(frozen=True)
class _Job:
    pictures: Sequence[Picture]
    answer: asyncio.Future[list[Prediction]]


class Batcher:
    """Collects what waits while a batch is in the network, and runs it together. Used with `async with`."""

    def __init__(self, predictor: Predictor) -> None:
        """Args: the model, used by this batcher alone."""
        self.predictor = predictor
        self._queue: asyncio.Queue[_Job] = asyncio.Queue(WAITING)

    async def __aenter__(self) -> "Batcher":
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker

    async def predict(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """Answers for pictures, in order; those of a large volume let other requests pass in between.

        Raises:
            Busy: the queue is full.
        """
        answers: list[Prediction] = []
        for start in range(0, len(pictures), BATCH):
            answers += await self._ask(pictures[start : start + BATCH])
        return answers

    async def _ask(self, pictures: Sequence[Picture]) -> list[Prediction]:
        job = _Job(pictures, asyncio.get_running_loop().create_future())
        try:
            self._queue.put_nowait(job)
        except asyncio.QueueFull:
            raise Busy from None
        return await job.answer

    async def _work(self) -> None:
        while True:
            jobs = [await self._queue.get()]
            while not self._queue.empty() and sum(len(job.pictures) for job in jobs) < BATCH:
                jobs.append(self._queue.get_nowait())
            jobs = [job for job in jobs if not job.answer.done()]  # those whose client has gone
            pictures = [picture for job in jobs for picture in job.pictures]
            try:
                predictions = await asyncio.to_thread(self.predictor.predict, pictures)
            except Exception as error:  # a defect: each request fails with it, the worker goes on
                for job in jobs:
                    if not job.answer.done():
                        job.answer.set_exception(error)
                continue
            start = 0
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_result(predictions[start : start + len(job.pictures)])
                start += len(job.pictures)
