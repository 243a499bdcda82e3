"""5,000,000 events behind: from a worker's start to its first delivery, and how long `hearken status` takes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

from bench.figure import Figure, at_most
from bench.noting import first, noting
from bench.stage import server, spaces
from bench.working import working
from worker.declare.registry import registry
from worker.testing import bench

FILL = """
insert into hearken.events (topic, op, key, old, new)
select 'public.spaces', 'update', (i % 10000)::text, '{"capacity": 1}', '{"id": 1, "capacity": 2}'
from generate_series(1, %s) i
"""


async def _fill(url: str, events: int) -> None:
    with spaces(url, 10_000) as connection:
        async with bench(url, noting, declared=registry):
            pass
        connection.execute(FILL.replace("%s", str(events)).encode())


async def _start(url: str) -> float:
    started = time.perf_counter()
    async with working(url, registry, query_timeout=1):
        await first.wait()
        return time.perf_counter() - started


def _status(url: str) -> float:
    environment = {**os.environ, "DATABASE_URL": url, "HEARKEN_HANDLERS": "bench.noting"}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "worker", "status", "--json"], check=True, capture_output=True, env=environment
    )
    return time.perf_counter() - started


def figures(*, quick: bool = False) -> list[Figure]:
    """Both, with the statement timeout that a careful person may have set."""
    events = 100_000 if quick else 5_000_000
    with server() as running:
        asyncio.run(_fill(running.url, events))
        behind = f"{events:,} behind"
        return [
            at_most(f"{behind}: start to first delivery", asyncio.run(_start(running.url)), 1, "s"),
            at_most(f"{behind}: hearken status", _status(running.url), 1, "s"),
        ]
