"""`python -m worker …` as a process of its own, the way an operator runs it, and a database for it to look at."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.support import sample_handlers
from tests.support.sample_handlers import TABLES, note_room, price_room
from worker.testing import Bench, bench

ROOT = Path(__file__).parents[2]
SAMPLE = sample_handlers.__name__
_OURS = ("DATABASE_URL", "HEARKEN_", "STRIPE_", "PORT", "PG")


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@asynccontextmanager
async def start(url: str | None, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    """A command that runs over the database at `url`; killed on leaving, if it is still there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    own = {"HEARKEN_HANDLERS": SAMPLE} | ({"DATABASE_URL": url} if url is not None else {})
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        cwd=ROOT,
        env={**kept, **own, **environment},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def hearken(url: str | None, *arguments: str, **environment: str) -> Result:
    """Run a command to its end, without a terminal."""
    async with start(url, *arguments, **environment) as process:
        out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


@dataclass(frozen=True)
class Rooms:
    """A migrated database in which `sample_handlers` watch the table `rooms`. They run when it is drained."""

    url: str
    bench: Bench

    async def execute(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        return await self.bench.execute(query, parameters)

    async def value(self, query: str, *parameters: Any) -> Any:
        """The one value of the one row."""
        (row,) = await self.execute(query, *parameters)
        (value,) = row.values()
        return value

    async def delivered(self, handler: str) -> list[tuple[int, int | None]]:
        """What the handler has written down, in order: each event's id, and that of the event it repeats."""
        rows = await self.execute(
            "select event_id, replay_of from deliveries where handler = %s order by event_id", handler
        )
        return [(row["event_id"], row["replay_of"]) for row in rows]


@asynccontextmanager
async def open_rooms(url: str) -> AsyncIterator[Rooms]:
    """Make the tables, and migrate for the sample handlers."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(TABLES)
    async with bench(url, note_room, price_room) as opened:
        yield Rooms(url, opened)
