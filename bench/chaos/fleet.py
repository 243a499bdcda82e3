"""The workers: a fixed number of places, each filled again as soon as whoever had it is gone."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from bench.chaos import systems
from bench.chaos.sink import Sink
from tests.support.workers import Worker, start_worker

MODULES = ("bench.chaos.handlers", *systems.MODULES)
PLACES = 3
FOR_EVER = 1e6


class Fleet:
    """Who works now. `environment` is what the next ones are started with; `unasked` are exit codes of those that ended
    by themselves, which none should, or badly."""

    def __init__(self, url: str, sink: Sink, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.unasked: list[int] = []
        self.kills = 0
        self.working_kills = 0
        self._url = url
        self._sink = sink
        self._workers: dict[int, Worker] = {}
        self._asked: dict[int, asyncio.Future[int]] = {}

    def worker(self, victim: int) -> Worker | None:
        """The one that a fault hits."""
        there = self.workers()
        return there[victim % len(there)] if there else None

    def workers(self) -> list[Worker]:
        """All of now."""
        return [self._workers[place] for place in sorted(self._workers)]

    async def kill(self, worker: Worker) -> None:
        """SIGKILL, noting whether it was at work."""
        self.kills += 1
        self.working_kills += await self._sink.is_busy(worker.pid)
        await self._end(worker, signal.SIGKILL, 10)

    async def stop(self, worker: Worker) -> None:
        """SIGTERM, which a worker ends with 0 once it has begun."""
        begun = any(line.get("event") == "working" for line in worker.lines)
        code = await self._end(worker, signal.SIGTERM, 30)
        if code and begun:
            self.unasked.append(code)

    async def keep(self, place: int) -> None:
        """Fill a place again and again."""
        while True:
            async with start_worker(self._url, MODULES, None, **self.environment) as worker:
                self._workers[place] = worker
                try:
                    code = await worker.ended(seconds=FOR_EVER)
                finally:
                    del self._workers[place]
                if (asked := self._asked.pop(worker.pid, None)) is not None:
                    asked.set_result(code)
                    continue
                self.unasked.append(code)
                print(f"worker ended by itself with {code}:\n{worker.tail()}", flush=True)
                await asyncio.sleep(0.5)

    async def _end(self, worker: Worker, number: signal.Signals, seconds: float) -> int:
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[worker.pid] = ended
        worker.send(number)
        async with asyncio.timeout(seconds):
            return await ended


@asynccontextmanager
async def fleet(url: str, sink: Sink, environment: Mapping[str, str]) -> AsyncIterator[Fleet]:
    """All places filled while the context lasts; nothing of it is left afterwards."""
    workers = Fleet(url, sink, environment)
    keeping = [asyncio.create_task(workers.keep(place)) for place in range(PLACES)]
    try:
        yield workers
    finally:
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)
