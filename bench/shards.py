"""What a second worker adds to a handler with four shards: one that does nothing, and one that waits 20 ms.

Workers are processes of their own that are at rest when the events are committed, all at once; the time is from the
commit to the last delivery.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import psycopg

from bench.figure import Figure, at_least
from bench.stage import server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry

ROWS = 10_000
WAIT = 0.02
# Seconds between two reports of a worker.
REPORT = 0.05


def declared(waits: bool, seen: list[float]) -> Registry:
    """One handler in four shards, which notes when it was called in `seen`."""
    registry = Registry()

    @registry.on("public.spaces", watch=("capacity",), shards=4, concurrency=10)
    async def handle(change: Change, ctx: Context) -> None:
        """Wait, or do nothing."""
        if waits:
            await asyncio.sleep(WAIT)
        seen.append(time.time())

    return registry


async def work(url: str, waits: bool) -> None:
    """The worker's process: prints how many it has been given, and when the last was, until it is killed."""
    seen: list[float] = []
    async with working(url, declared(waits, seen)):
        print(0, time.time(), flush=True)
        said = 0
        while True:
            await asyncio.sleep(REPORT)
            if len(seen) > said:
                said = len(seen)
                print(said, seen[-1], flush=True)


@asynccontextmanager
async def worker(url: str, waits: bool) -> AsyncIterator[Process]:
    """One such process, at work."""
    command = [sys.executable, "-m", "bench.shards", url, "waits" if waits else "nothing"]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    while not (await process.stdout.readline()).startswith(b"0 "):
        assert process.returncode is None, "the worker ended"
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def drain(url: str, waits: bool, workers: int, events: int) -> float:
    """Events a second of so many workers."""
    with spaces(url, ROWS):
        async with working(url, declared(waits, [])):
            pass
        async with AsyncExitStack() as stack:
            processes = [await stack.enter_async_context(worker(url, waits)) for _ in range(workers)]
            async with await psycopg.AsyncConnection.connect(url) as connection:
                for _ in range(events // ROWS):
                    await connection.execute("update spaces set capacity = capacity + 1")
                await connection.commit()
                committed = time.time()
            return events / (await _last(processes, events) - committed)


async def _last(processes: list[Process], events: int) -> float:
    """When the last event was delivered."""
    counts, latest = dict.fromkeys(processes, 0), 0.0
    over = asyncio.Event()

    async def read(process: Process) -> None:
        nonlocal latest
        assert process.stdout is not None
        while not over.is_set() and (line := await process.stdout.readline()):
            count, at = line.split()
            counts[process], latest = int(count), max(latest, float(at))
            if sum(counts.values()) >= events:
                over.set()

    async with asyncio.timeout(120):
        readers = [asyncio.create_task(read(process)) for process in processes]
        waiting = asyncio.create_task(over.wait())
        await asyncio.wait([waiting, *readers], return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, *readers):
            task.cancel()
        await asyncio.gather(waiting, *readers, return_exceptions=True)
    assert over.is_set(), f"a worker ended, after {counts.values()}"
    return latest


async def measure(url: str, quick: bool) -> list[Figure]:
    """Each handler with one worker and with two."""
    found: list[Figure] = []
    for waits, events, bar in ((False, 200_000, 1.6), (True, 20_000, 1.9)):
        size = ROWS if quick else events
        rates = [await drain(url, waits, workers, size) for workers in (1, 2)]
        name = f"4 shards, {'20 ms handler, 10 at a time' if waits else 'handler that does nothing'}"
        found += [Figure(f"{name}, one worker", rates[0], "events/s")]
        found += [at_least(f"{name}, two workers / one", rates[1] / rates[0], bar)]
    return found


def figures(*, quick: bool = False) -> list[Figure]:
    """Rates of one worker, and what two make of them."""
    with server() as running:
        return asyncio.run(measure(running.url, quick))


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2] == "waits"))
