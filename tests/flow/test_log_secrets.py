"""Promise: a log above debug level holds nothing of the rows, whatever handlers do with them, and no secret."""

from __future__ import annotations

import asyncio
import json
import operator
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg

from tests.support import leaky
from tests.support.served import ROOT, WORKER, execute, prepare, program_environment
from tests.support.waiting import eventually
from worker.declare.registry import Registry, registry
from worker.dev.embedded import EmbeddedPostgres
from worker.observe.status import HandlerStatus, read_status

SECRET = "hunter2-of-the-row"


def leaky_handlers() -> Registry:
    chosen = Registry()
    chosen.handlers = {n: h for n, h in registry.handlers.items() if h.function.__module__ == leaky.__name__}
    return chosen


@asynccontextmanager
async def running(url: str, lines: list[str], level: str) -> AsyncIterator[None]:
    """A worker over the leaky handlers as a program; on leaving it is terminated, and `lines` has its whole output."""
    await execute(url, "create table if not exists twins (name text primary key)")
    await prepare(url, leaky_handlers())
    environment = program_environment(url, leaky.__name__, HEARKEN_LOG_LEVEL=level)
    process = await asyncio.create_subprocess_exec(
        *WORKER, cwd=ROOT, env=environment, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    working = asyncio.Event()
    reading = asyncio.create_task(read(process, lines, working))
    try:
        await working.wait()  # a start takes long on a busy machine
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        await reading
        assert await process.wait() == 0


async def read(process: Process, lines: list[str], working: asyncio.Event) -> None:
    """Keep what the program prints; tell when it works, or has ended without."""
    assert process.stdout is not None
    async for line in process.stdout:
        lines.append(line.decode().rstrip("\n"))
        if '"event": "working"' in lines[-1]:
            working.set()
    working.set()


async def until_settled(url: str) -> None:
    """Wait until every handler is done with every event; but for `away`, which has put its first one aside."""

    async def unsettled() -> list[HandlerStatus]:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            statuses = await read_status(connection, leaky_handlers().handlers)
        return [s for s in statuses if (not s.due if s.handler == "away" else s.behind or s.due)]

    await eventually(unsettled, "end of every handler", 30, fits=operator.not_)


def parsed(lines: list[str]) -> list[dict[str, Any]]:
    """Every line must be JSON."""
    return [json.loads(line) for line in lines]


async def test_no_row_and_no_secret_is_in_the_log(postgres: EmbeddedPostgres) -> None:
    """Dead events, tracebacks, tasks left behind, a violated constraint, a database that goes and comes."""
    lines: list[str] = []
    async with running(postgres.url, lines, "info"):
        await execute(postgres.url, "insert into things values (1, %s)", SECRET)
        await until_settled(postgres.url)
        await asyncio.to_thread(postgres.restart)
        await execute(postgres.url, "insert into things values (2, %s)", SECRET)
        await until_settled(postgres.url)
    text = "\n".join(lines)
    assert SECRET not in text
    assert str(urlsplit(postgres.url).password) not in text
    said = parsed(lines)
    assert {line["handler"] for line in said if line["event"] == "dead"} == {"raises", "violates"}
    own = [line for line in said if line.get("logger") == "leaky"]
    assert {line["event"] for line in own} == {"not a number", "not a number either"}
    assert {(line["handler"], line["key"]) for line in own} == {("logs", "1"), ("logs", "2")}
    assert any(line["event"].startswith("Task exception was never retrieved") for line in said)


async def test_at_debug_level_handlers_may_say_what_they_see(empty_database_url: str) -> None:
    """Who asks for it gets it, from structlog and the standard library alike."""
    lines: list[str] = []
    async with running(empty_database_url, lines, "debug"):
        await execute(empty_database_url, "insert into things values (1, %s)", SECRET)
        await until_settled(empty_database_url)
    rows = [line for line in parsed(lines) if line["event"].startswith("row")]
    assert {line.get("name", line["event"]) for line in rows} == {SECRET, f"row {SECRET}"}
