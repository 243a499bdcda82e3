"""Promise 14: no statement's cost grows with the backlog; and what a window holds is found without reading it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.served import THINGS, execute, served
from tests.support.waiting import eventually
from worker import Change, Context
from worker.declare.registry import Registry
from worker.install.migrate import migrate
from worker.postgres.database import Database
from worker.settings import Settings

EVENTS = 200_000
FILL = """
insert into hearken.events (topic, op, key, new)
select 'public.things', 'insert', i::text, json_build_object('id', i) from generate_series(1, {}) i
"""


def counting(seen: list[int], **options: Any) -> Registry:
    """A handler that notes what it is given."""
    registry = Registry()

    @registry.on("public.things", **options)
    async def note(change: Change, ctx: Context) -> None:
        """Note it."""
        seen.append(int(str(change.key)))

    return registry


async def connect(url: str) -> Any:
    return await Database(Settings.model_validate({"DATABASE_URL": url})).connect()


async def test_a_backlog_is_begun_at_once_whatever_its_size(empty_database_url: str) -> None:
    """Opening its window and judging it read a few pages; the statements that do are under a short timeout."""
    seen: list[int] = []
    registry = counting(seen)
    connection = await connect(empty_database_url)
    async with connection:
        await connection.execute(THINGS)
        await migrate(connection, registry)
        await connection.execute(FILL.format(EVENTS).encode())
    async with served(empty_database_url, registry, prepared=False, query_timeout=0.3):
        await eventually(lambda: _size(seen), "all of them", 60, fits=lambda size: size >= EVENTS)
    assert sorted(seen) == list(range(1, EVENTS + 1))


async def _size(seen: list[int]) -> int:
    return len(seen)


@pytest.mark.parametrize("shards", [1, 3])
async def test_what_was_in_flight_for_long_is_not_missed(empty_database_url: str, shards: int) -> None:
    """Its ids are older than the cursor: a large window begins low enough for them, and delivers in order."""
    seen: list[int] = []
    registry = counting(seen, shards=shards)
    connection, other = await connect(empty_database_url), await connect(empty_database_url)
    async with connection, other:
        await connection.execute(THINGS)
        await migrate(connection, registry)
        async with served(empty_database_url, registry, prepared=False):
            async with other.transaction():
                await other.execute("insert into things select i from generate_series(1, 3000) i")
                # Small windows, read whole, pass it by; and a large one, that is opened.
                for key in range(10_001, 10_011):
                    await connection.execute("insert into things values (%s)", (key,))
                    await eventually(lambda: _size(seen), "each", 20, fits=(key - 10_000).__le__)
                await connection.execute("insert into things select i from generate_series(20001, 23000) i")
                await eventually(lambda: _size(seen), "the large one", 30, fits=lambda size: size >= 3010)
            await connection.execute("insert into things select i from generate_series(30001, 33000) i")
            await eventually(lambda: _size(seen), "all", 30, fits=lambda size: size >= 9010)
    assert sorted(seen) == [*range(1, 3001), *range(10_001, 10_011), *range(20_001, 23_001), *range(30_001, 33_001)]


async def test_the_brake_looks_ahead_a_stretch_at_a_time(empty_database_url: str) -> None:
    """What is taken away far behind in a large window stops the handler before any of that is delivered."""
    seen: list[int] = []
    registry = counting(seen)
    connection = await connect(empty_database_url)
    async with connection:
        await connection.execute(THINGS)
        await connection.execute("insert into things select i from generate_series(1, 300) i")
        await migrate(connection, registry)
        await connection.execute("insert into things select i from generate_series(1001, 21000) i")
        await connection.execute("delete from things where id <= 200")
        await connection.execute("insert into things select i from generate_series(30001, 31000) i")
    async with served(empty_database_url, registry, prepared=False):
        await eventually(
            lambda: execute(empty_database_url, "select deleted, archived from hearken.brakes"), "brake", 30, fits=bool
        )
    assert not [key for key in seen if key <= 200], "a deletion was delivered"
    assert [key for key in seen if key <= 21_000] == seen, "what comes after it was delivered"
