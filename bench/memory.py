"""The memory a worker needs for a large backlog: 1,000,000 events, drained in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from bench.figure import Figure, at_most
from bench.stage import peak_megabytes, server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry
from worker.testing import bench

ROWS = 100_000
registry = Registry()
done = asyncio.Event()
left = 0


@registry.on("public.spaces", watch=("capacity",))
async def counting(change: Change, ctx: Context) -> None:
    """Count down the backlog."""
    global left
    left -= 1
    if left == 0:
        done.set()


async def fill(url: str, events: int) -> None:
    """Capture a backlog of so many events while no worker runs."""
    with spaces(url, ROWS) as connection:
        async with bench(url, counting, declared=registry):
            for _ in range(events // ROWS):
                connection.execute("update spaces set capacity = capacity + 1")


async def drain(url: str, events: int) -> None:
    """Work until the backlog is gone."""
    global left
    left = events
    async with working(url, registry):
        await done.wait()


def figures(*, quick: bool = False) -> list[Figure]:
    """The peak resident memory of the process that drained."""
    events = 100_000 if quick else 1_000_000
    with server() as running:
        asyncio.run(fill(running.url, events))
        command = [sys.executable, "-m", "bench.memory", running.url, str(events)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [at_most(f"peak memory of a worker that drains {events:,} events", float(output.split()[-1]), 200, "MB")]


if __name__ == "__main__":
    asyncio.run(drain(sys.argv[1], int(sys.argv[2])))
    print(round(peak_megabytes()))
