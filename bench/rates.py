"""Handlers that wait (1 ms, 20 ms), so many at a time (10, 100): their rate, against a plain asyncio loop doing it.

The loop keeps as many tasks that take one piece of work after the other and sleep as long. Both are timed from the
first call to the last, in one process, one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.figure import Figure, at_least
from bench.stage import server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry

CASES = ((0.001, 10), (0.001, 100), (0.02, 10), (0.02, 100))
ROWS = 10_000
# What a case would take at the best; the number of events follows from it.
SECONDS = 4.0


class Clock:
    """Notes the first and the last of so many calls."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.over = asyncio.Event()
        self._left = calls
        self._began = 0.0
        self._ended = 0.0

    def begin(self) -> None:
        """A call begins."""
        self._began = self._began or time.perf_counter()

    def end(self) -> None:
        """A call is over."""
        self._left -= 1
        if self._left == 0:
            self._ended = time.perf_counter()
            self.over.set()

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / (self._ended - self._began)


def _work(clock: Clock, seconds: float | None) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        clock.begin()
        if seconds is not None:
            await asyncio.sleep(seconds)
        clock.end()

    return work


async def plain(calls: int, seconds: float, concurrency: int) -> float:
    """The rate of the plain loop."""
    clock = Clock(calls)
    work = _work(clock, seconds)
    numbers = iter(range(calls))

    async def one() -> None:
        for _ in numbers:
            await work()

    await asyncio.gather(*(one() for _ in range(concurrency)))
    return clock.rate


async def delivered(url: str, calls: int, seconds: float | None, concurrency: int) -> float:
    """The rate of a worker that finds so many events behind; without `seconds` its handler does nothing."""
    clock = Clock(calls)
    work = _work(clock, seconds)
    registry = Registry()

    @registry.on("public.spaces", watch=("capacity",), concurrency=concurrency)
    async def waits(change: Change, ctx: Context) -> None:
        """Wait."""
        await work()

    with spaces(url, ROWS) as connection:
        async with working(url, registry):
            pass
        for first in range(0, calls, ROWS):
            connection.execute("update spaces set capacity = capacity + 1 where id <= %s", (min(ROWS, calls - first),))
        async with working(url, registry):
            await clock.over.wait()
    return clock.rate


async def measure(url: str, best: float) -> list[Figure]:
    """Each case: both rates, and their ratio."""
    found: list[Figure] = []
    for seconds, concurrency in CASES:
        calls = int(best * min(concurrency / seconds, 10_000))
        ours, theirs = await delivered(url, calls, seconds, concurrency), await plain(calls, seconds, concurrency)
        name = f"{seconds * 1000:.0f} ms handler, {concurrency} at a time"
        found += [Figure(name, ours, "events/s"), at_least(f"{name} / plain loop", ours / theirs, 0.95)]
    return found


def figures(*, quick: bool = False) -> list[Figure]:
    """All cases."""
    with server() as running:
        return asyncio.run(measure(running.url, 0.5 if quick else SECONDS))
