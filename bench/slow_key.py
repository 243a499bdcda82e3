"""One key whose delivery takes 15 s, and what the other keys of its handler notice of it.

A writer in this process commits 100 changes a second of other keys while the slow delivery runs; the time is from the
commit to the call of the handler. The slow key is changed twice more meanwhile: its own order is kept.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import psycopg

from bench.figure import Figure, at_most
from bench.stage import server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry

SLOW_KEY = "1"
RATE = 100
registry = Registry()
called: dict[int, float] = {}
slow_order: list[int] = []
slow_seconds = 15.0
slow_began = asyncio.Event()


@registry.on("public.spaces", watch=("capacity",), concurrency=10)
async def handle(change: Change, ctx: Context) -> None:
    """Note when it was called for which change; take long for the slow key's first."""
    version = (change.new or {})["capacity"]
    called.setdefault(version, time.perf_counter())
    if change.key == SLOW_KEY:
        slow_order.append(version)
        slow_began.set()
        if len(slow_order) == 1:
            await asyncio.sleep(slow_seconds)


async def _put(connection: psycopg.AsyncConnection, key: int, version: int) -> float:
    await connection.execute("update spaces set capacity = %s where id = %s", (version, key))
    return time.perf_counter()


async def measure(url: str, seconds: float) -> list[float]:
    """Milliseconds from commit to call of each of the other keys' changes, sorted."""
    global slow_seconds
    slow_seconds = seconds
    committed: dict[int, float] = {}
    with spaces(url, 1000):
        async with working(url, registry), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await _put(connection, int(SLOW_KEY), 1_000_000)
            await slow_began.wait()
            started = time.perf_counter()
            for i in range(int(seconds * RATE)):
                await asyncio.sleep(max(0.0, started + i / RATE - time.perf_counter()))
                if i in (RATE, 2 * RATE):
                    await _put(connection, int(SLOW_KEY), 1_000_000 + i)
                committed[2_000_000 + i] = await _put(connection, i % 999 + 2, 2_000_000 + i)
            while len(called) < len(committed) + 3:
                await asyncio.sleep(0.05)
    assert slow_order == [1_000_000, 1_000_000 + RATE, 1_000_000 + 2 * RATE], slow_order
    return sorted((called[version] - at) * 1000 for version, at in committed.items())


def figures(*, quick: bool = False) -> list[Figure]:
    """The distribution of the other keys' delays."""
    seconds = 4.0 if quick else 15.0
    with server() as running:
        cuts = statistics.quantiles(asyncio.run(measure(running.url, seconds)), n=100)
    name = f"other keys while one key's delivery takes {seconds:.0f} s"
    return [Figure(f"{name}, p50", cuts[49], "ms"), at_most(f"{name}, p99", cuts[98], 250, "ms")]
