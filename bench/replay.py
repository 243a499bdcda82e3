"""What a replay of 100,000 events does to the changes that are committed meanwhile: latency with and without it.

The replay is a process of its own, as the command is. Measured at the command's own rate, then with no rate to speak
of, and last with all 100,000 appended at once, which is what the pacing is for.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from bench.figure import Figure, at_most
from bench.latency import measure, registry
from bench.stage import server, spaces
from bench.working import working
from worker.cli.replay import RATE as OWN_RATE
from worker.operate.audit import Actor
from worker.operate.events import Filter
from worker.operate.replay import begin_replay
from worker.operate.selection import Selection, count_selected, take_snapshot
from worker.operate.throttle import Throttle, append_all
from worker.postgres.database import Database
from worker.settings import Settings

EVENTS = 100_000
FLOOD = """
insert into hearken.events (topic, op, key, old, new, replay_of)
select topic, op, key, old, new, id from hearken.events where replay_of is null order by id limit 100000
"""


async def replay(url: str, rate: float) -> None:
    """The other process: replay everything, until it is killed; prints a line for each chunk."""
    connection = await Database(Settings.model_validate({"DATABASE_URL": url})).connect()
    handlers = list(registry.handlers.values())
    choice = Selection(Filter(["public.spaces"]), handlers, False, False, await take_snapshot(connection))
    count = await count_selected(connection, choice)
    assert count.events >= EVENTS, count
    run = await begin_replay(connection, choice, Actor("bench"), {})
    pace = Throttle(
        connection, handlers, rate, asyncio.Event(), lambda names: print("waits for", *names, file=sys.stderr)
    )
    async for chunk in append_all(run, pace):
        print(len(chunk.events), flush=True)


@asynccontextmanager
async def replaying(url: str, rate: float) -> AsyncIterator[list[int]]:
    """A replay while the block lasts; gives the sizes of its chunks."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.replay", url, str(rate), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    chunks = [int(await process.stdout.readline())]
    reading = asyncio.create_task(_read(process.stdout, chunks))
    try:
        yield chunks
        assert process.returncode is None, "the replay ended before the measurement did"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def _read(lines: asyncio.StreamReader, chunks: list[int]) -> None:
    async for line in lines:
        chunks.append(int(line))


async def run(url: str, seconds: float) -> list[Figure]:
    """Measure alone, during a replay, during one that may be as fast as it likes, and behind a flood."""
    with spaces(url, 1000) as connection:
        async with working(url, registry):
            for _ in range(EVENTS // 1000):
                connection.execute("update spaces set capacity = capacity + 1")
            await measure(url, 1.0)
            alone = await measure(url, seconds)
            figures = _told("alone", alone)
            for name, rate in (
                (f"during a replay at {OWN_RATE:.0f}/s", OWN_RATE),
                ("during one as fast as it goes", 1e6),
            ):
                async with replaying(url, rate) as chunks:
                    before, started = sum(chunks), time.perf_counter()
                    during = await measure(url, min(seconds, 8.0))
                    replayed = (sum(chunks) - before) / (time.perf_counter() - started)
                figures += [*_told(name, during), Figure(f"replayed {name}", replayed, "events/s")]
                if rate == OWN_RATE:
                    figures.append(at_most(f"commit to handler {name} / alone, p50", _p(50, during) / _p(50, alone), 2))
            figures += _told("behind 100,000 at once", await _flooded(url, connection))
    return figures


async def _flooded(url: str, connection: psycopg.Connection) -> list[float]:
    measuring = asyncio.create_task(measure(url, 5.0))
    await asyncio.sleep(1)
    await asyncio.to_thread(connection.execute, FLOOD)
    return await measuring


def _told(name: str, milliseconds: list[float]) -> list[Figure]:
    return [Figure(f"commit to handler {name}, p{p}", _p(p, milliseconds), "ms") for p in (50, 99)]


def _p(percent: int, milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=100)[percent - 1]


def figures(*, quick: bool = False) -> list[Figure]:
    """The distributions, and their ratio to that alone."""
    with server() as running:
        return asyncio.run(run(running.url, 2.0 if quick else 10.0))


if __name__ == "__main__":
    asyncio.run(replay(sys.argv[1], float(sys.argv[2])))
