"""Promise: the author of a handler can test it on a real database in a few lines, without a running worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic_settings import BaseSettings

from tests.support.watched import connect
from worker import Change, Context, Database, Retry
from worker.declare.registry import Registry
from worker.errors import UsageError, WatchError
from worker.testing import bench

declared = Registry()
given: list[tuple[str, str, str | None]] = []


class NoSettings(BaseSettings):
    """A resource that needs none."""


@declared.resource
async def printer(settings: NoSettings, database: Database) -> AsyncIterator[list[str]]:
    yield []


@declared.on("public.signs", transactional=True)
async def count_signs(changes: Sequence[Change], ctx: Context) -> None:
    given.extend((ctx.handler, change.op, change.key) for change in changes)


@declared.on("public.rooms")
async def make_sign(change: Change, ctx: Context) -> None:
    """Prints, and writes to a table that another handler watches."""
    ctx.use(printer).append(change.key or "")
    async with ctx.connection() as connection:
        await connection.execute("insert into signs values (%s)", (change.key,))


@declared.on("public.rooms")
async def refuse(change: Change, ctx: Context) -> None:
    raise Retry("not yet", after=60)


async def stranger(change: Change, ctx: Context) -> None:
    """Not declared."""


@pytest.fixture
async def url(empty_database_url: str) -> str:
    """An author's database: the tables are there, and nothing of ours."""
    given.clear()
    async with connect(empty_database_url) as connection:
        await connection.execute(
            "create table rooms (id int primary key, name text); create table signs (id int primary key)"
        )
    return empty_database_url


async def test_what_a_handler_does_is_delivered_in_turn(url: str) -> None:
    """`drain` ends when nothing is left, also of what handlers have caused for handlers before them."""
    printed: list[str] = []
    async with bench(url, make_sign, count_signs, declared=declared, resources={printer: printed}) as rooms:
        await rooms.execute("insert into rooms values (%s, %s), (2, 'x')", (1, "100%"))
        assert await rooms.drain() == 2
        assert await rooms.drain() == 0
        assert await rooms.execute("select name from rooms where name like '100%'") == [{"name": "100%"}]
    assert sorted(printed) == ["1", "2"]
    assert sorted(given) == [("count_signs", "insert", "1"), ("count_signs", "insert", "2")]


async def test_what_is_put_aside_can_be_looked_at(url: str) -> None:
    """And is not tried again before its time."""
    async with bench(url, refuse, declared=declared) as rooms:
        await rooms.execute("insert into rooms values (%(id)s)", {"id": 1})
        assert [await rooms.drain(), await rooms.drain()] == [1, 0]
        (parked,) = await rooms.parked()
    assert (parked["handler"], parked["key"], parked["state"], parked["reason"]) == ("refuse", "1", "due", "not yet")


async def test_only_the_handlers_named_take_part(url: str) -> None:
    """Others of the registry are neither migrated nor called."""
    async with bench(url, count_signs, declared=declared) as signs:
        await signs.execute("insert into rooms values (1)")
        await signs.drain()
        assert await signs.execute("select handler from hearken.cursors") == [{"handler": "count_signs"}]
    assert given == []


async def test_a_database_may_be_used_again(url: str) -> None:
    """What was not delivered is there the next time."""
    async with bench(url, count_signs, declared=declared) as signs:
        await signs.execute("insert into signs values (1)")
    async with bench(url, count_signs, declared=declared) as signs:
        assert await signs.drain() == 1
    assert given == [("count_signs", "insert", "1")]


async def test_a_function_that_is_not_declared_is_refused(url: str) -> None:
    """It would be called for nothing, and a test of it would pass."""
    with pytest.raises(UsageError, match="stranger: not declared with @on"):
        async with bench(url, count_signs, stranger, declared=declared):
            pass


async def test_a_table_that_is_not_there_is_named(empty_database_url: str) -> None:
    """As `hearken migrate` would."""
    with pytest.raises(WatchError, match=r"table public\.signs does not exist"):
        async with bench(empty_database_url, count_signs, declared=declared):
            pass
