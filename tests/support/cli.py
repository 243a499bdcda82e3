"""`hearken …` as a process of its own, the way an operator runs it, and a database for it to look at.

Most commands are run by `hearken`, in a process forked from one that has imported the engine already: starting Python
and importing takes ten times as long as what a command does. Where the start itself matters, `start` makes it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from tests.support import sample_handlers
from tests.support.sample_handlers import TABLES, note_room, price_room
from worker.cli import main
from worker.cli.lazy import COMMANDS
from worker.testing import Bench, bench

ROOT = Path(__file__).parents[2]
SAMPLE = sample_handlers.__name__
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["worker.app", *{place.module for place in COMMANDS.values()}])
_OURS = ("DATABASE_URL", "HEARKEN_", "STRIPE_", "CRM_", "PORT", "PG")


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


def _environment(url: str | None, further: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, "HEARKEN_HANDLERS": SAMPLE, **({"DATABASE_URL": url} if url is not None else {}), **further}


@asynccontextmanager
async def start(url: str | None, *arguments: str, **environment: str) -> AsyncIterator[Process]:
    """`python -m worker` over the database at `url`; killed on leaving, if it is still there."""
    async with _started(arguments, _environment(url, environment), (DEVNULL, PIPE, PIPE)) as process:
        yield process


@asynccontextmanager
async def start_on_terminal(url: str, terminal: int, *arguments: str) -> AsyncIterator[Process]:
    """The same on a terminal: a descriptor that is its standard input, output and error."""
    async with _started(arguments, _environment(url, {}), (terminal, terminal, terminal)) as process:
        yield process


@asynccontextmanager
async def _started(
    arguments: Sequence[str], environment: dict[str, str], streams: tuple[int, int, int]
) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        cwd=ROOT,
        env=environment,
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@asynccontextmanager
async def start_at_terminal(url: str, *arguments: str) -> AsyncIterator[tuple[Process, int]]:
    """The same with a terminal to answer at: the process, and where to write what a person types."""
    keyboard, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", *arguments),
        cwd=ROOT,
        env=_environment(url, {}),
        stdin=terminal,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process, keyboard
    finally:
        os.close(keyboard)
        os.close(terminal)
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def program(url: str | None, *arguments: str, **environment: str) -> Result:
    """`python -m worker` to its end, without a terminal."""
    async with start(url, *arguments, **environment) as process:
        out, err = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, out.decode(), err.decode())


async def hearken(url: str, *arguments: str, **environment: str) -> Result:
    """A command to its end, without a terminal, in a process forked for it."""
    with TemporaryDirectory() as folder:
        call = (arguments, _environment(url, environment), f"{folder}/out", f"{folder}/err")
        process = _SERVER.Process(target=_run, args=call)
        process.start()
        await _readable(process.sentinel)
        process.join()
        out, err = (path.read_text() for path in (Path(call[2]), Path(call[3])))
    assert process.exitcode is not None
    return Result(process.exitcode, out, err)


async def _readable(descriptor: int) -> None:
    """Wait until something can be read; here the end of a process."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(descriptor)


def _run(arguments: Sequence[str], environment: Mapping[str, str], out: str, err: str) -> None:
    """What the forked process does."""
    for number, path in enumerate((os.devnull, out, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["hearken", *arguments]
    main()


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
