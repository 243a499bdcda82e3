"""Waiting for what nothing tells of: the one place where a test lets time pass, between one look and the next.

A test that can be told waits for that instead: a notification, a line of a log, an event of the loop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, LiteralString, TypeVar

from psycopg import AsyncConnection

T = TypeVar("T")

_PAUSE = 0.005
# Who waits for a lock here: on a row or table of this database, an advisory lock, or another's transaction.
_BLOCKED: LiteralString = """
select distinct pid from pg_locks where not granted
  and (database is null or database = (select oid from pg_database where datname = current_database()))
"""


async def eventually(
    look: Callable[[], Awaitable[T]], what: str, seconds: float = 20, *, fits: Callable[[T], object] = bool
) -> T:
    """Look again and again until what is seen fits; returns it.

    Raises AssertionError after `seconds`, with `what` was waited for and what was seen last.
    """
    seen: T | None = None
    try:
        async with asyncio.timeout(seconds):
            while not fits(latest := await look()):
                seen = latest
                await asyncio.sleep(_PAUSE)
            return latest
    except TimeoutError:
        raise AssertionError(f"no {what} within {seconds:g} s; seen at last: {seen!r}") from None


def eventually_true(look: Callable[[], bool], otherwise: Callable[[], str], seconds: float = 20) -> None:
    """The same outside a loop. `otherwise` gives the text of the AssertionError."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(_PAUSE)


async def until_blocked(connection: AsyncConnection[Any], sessions: int = 1) -> None:
    """Wait until so many sessions wait for a lock that another holds."""

    async def blocked() -> bool:
        return len(await (await connection.execute(_BLOCKED)).fetchall()) >= sessions

    await eventually(blocked, f"{sessions} blocked sessions")


async def some_moment(chance: random.Random, longest: float) -> None:
    """Let a random moment of at most so many seconds pass: for tests that try many points in time, not one."""
    await asyncio.sleep(chance.choice((0, chance.uniform(0, longest / 10), chance.uniform(0, longest))))
