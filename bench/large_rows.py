"""The memory of a worker that finds 100 events of rows of 4 MB: drained in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import LiteralString

from bench.figure import Figure, at_most
from bench.stage import peak_megabytes, server, spaces
from bench.working import working
from worker import Change, Context
from worker.declare.registry import Registry
from worker.testing import bench

ROWS = 100
# Of random digits, which neither the log nor the network can pack much.
LARGE: LiteralString = """
update spaces set description = (select string_agg(md5(random()::text || id || i), '') from generate_series(1, %s) i)
where id = %s
"""
registry = Registry()
done = asyncio.Event()
seen: set[str | None] = set()


@registry.on("public.spaces", watch=("description",))
async def read(change: Change, ctx: Context) -> None:
    """Look at the row."""
    assert change.new is not None
    assert len(change.new["description"]) > 100_000
    seen.add(change.key)
    if len(seen) == ROWS:
        done.set()


async def fill(url: str, megabytes: int) -> None:
    """Capture them while no worker runs."""
    with spaces(url, ROWS) as connection:
        async with bench(url, read, declared=registry):
            for key in range(1, ROWS + 1):
                connection.execute(LARGE, (megabytes * 2**20 // 32, key))


async def drain(url: str) -> None:
    """Work until all have been seen."""
    async with working(url, registry):
        await done.wait()


def figures(*, quick: bool = False) -> list[Figure]:
    """The peak resident memory of the process that drained."""
    megabytes = 1 if quick else 4
    with server() as running:
        asyncio.run(fill(running.url, megabytes))
        command = [sys.executable, "-m", "bench.large_rows", running.url]
        output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    name = f"peak memory of a worker with {ROWS} rows of {megabytes} MB behind"
    return [at_most(name, float(output.split()[-1]), 200, "MB")]


if __name__ == "__main__":
    asyncio.run(drain(sys.argv[1]))
    print(round(peak_megabytes()))
