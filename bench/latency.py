"""From a commit in another process to the call of the handler, at 200 changes a second, one at a time.

Both clocks are the machine's own (time.time). The commit counts from when the writer has its answer. Measured alone,
then with another connection holding a write transaction open, then beside handlers of tables that nobody writes to.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence

import psycopg

from bench.stage import server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry

RATE = 200
registry = Registry()
called: dict[int, float] = {}


@registry.on("public.spaces", watch=("capacity",))
async def clocked(change: Change, ctx: Context) -> None:
    """Note when it was called for which change; `bench.replay` brings back old ones, which do not count."""
    if change.replay_of is None:
        called[(change.new or {})["capacity"]] = time.time()


def write(url: str, seconds: float) -> None:
    """The other process: one committed change every 5 ms; prints when each was acknowledged, as JSON."""
    committed: dict[int, float] = {}
    first = int(time.time())  # every value is new, since an unchanged one makes no event
    with psycopg.connect(url, autocommit=True) as connection:
        started = time.perf_counter()
        for i in range(int(seconds * RATE)):
            time.sleep(max(0.0, started + i / RATE - time.perf_counter()))
            connection.execute("update spaces set capacity = %s where id = %s", (first + i, i % 1000 + 1))
            committed[first + i] = time.time()
    print(json.dumps(committed))


async def measure(url: str, seconds: float) -> list[float]:
    """Milliseconds of each change, sorted."""
    called.clear()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.latency", "write", url, str(seconds), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    committed = {int(key): at for key, at in json.loads(output).items()}
    while len(called) < len(committed):
        await asyncio.sleep(0.05)
    return sorted((called[key] - at) * 1000 for key, at in committed.items())


def show(name: str, figures: Sequence[float]) -> None:
    """Print p50, p90, p99 and the longest, in milliseconds."""
    cuts = statistics.quantiles(figures, n=100)
    print(f"  {name:<40} p50 {cuts[49]:6.2f}  p90 {cuts[89]:6.2f}  p99 {cuts[98]:6.2f}  max {figures[-1]:7.2f} ms")


def with_quiet(others: int) -> Registry:
    """The clocked handler, and so many handlers of tables in which nothing happens."""
    chosen = Registry()
    chosen.handlers = dict(registry.handlers)
    for number in range(others):

        async def quiet(change: Change, ctx: Context) -> None:
            """Never called."""

        quiet.__name__ = quiet.__qualname__ = f"quiet_{number}"
        chosen.on(f"public.quiet_{number}")(quiet)
    return chosen


async def beside_quiet(url: str, others: int, seconds: float) -> None:
    """The same changes, with so many other handlers."""
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(others):
            connection.execute(f"create table if not exists quiet_{number} (id integer primary key)".encode())
    async with working(url, with_quiet(others), batches=8):
        await measure(url, 1.0)
        show(f"beside {others} quiet handlers", await measure(url, seconds))


async def run(url: str, seconds: float) -> None:
    """Measure alone, then beside an open write transaction."""
    with spaces(url, 1000):
        async with working(url, registry):
            await measure(url, 1.0)
            show("alone", await measure(url, seconds))
            with psycopg.connect(url) as other:
                other.execute("create table held_open ()")
                show("beside an open write transaction", await measure(url, seconds))
                other.rollback()
        for others in (9, 30):
            await beside_quiet(url, others, seconds)


def main(seconds: float = 10.0) -> None:
    """Print the distribution."""
    with server() as running:
        print(f"commit to handler, {RATE} changes/s (figures: p50 1 ms, p99 3 ms)")
        asyncio.run(run(running.url, seconds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2], float(sys.argv[3]))
    else:
        main()
