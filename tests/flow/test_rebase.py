"""Promise: a database restored from a dump goes on where the other one was: nothing is lost, nothing is done twice."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.postgres import new_database
from worker.change import Change
from worker.declare.registry import Registry
from worker.deliver.context import Context
from worker.dev.embedded import EmbeddedPostgres
from worker.errors import DatabaseError, ForeignCursor
from worker.operate import rebase as rebasing
from worker.operate.audit import Actor
from worker.operate.rebase import Rebased, rebase
from worker.postgres.database import Database
from worker.settings import Settings
from worker.testing import Bench, bench

declared = Registry()
TABLES = """
create table rooms (id int primary key, name text);
create table seen (n bigint generated always as identity, handler text, original bigint, key text)
"""
WRITE = "insert into seen (handler, original, key) values (%s, %s, %s)"
SEEN = "select original, key from seen where handler = %s order by n"
PARK = """
insert into hearken.parked (handler, event_id, topic, key, state, attempt)
select 'whole', id, topic, key, 'due', 1 from hearken.events where key = '0'
"""
INVISIBLE = "select id from hearken.events where not pg_visible_in_snapshot(tx, pg_current_snapshot())"


async def write_down(changes: Sequence[Change], ctx: Context) -> None:
    for change in changes:
        await ctx.transaction.execute(WRITE, (ctx.handler, change.replay_of or change.id, change.key))


@declared.on("public.rooms", transactional=True, batch=2)
async def whole(changes: Sequence[Change], ctx: Context) -> None:
    """Takes two events at a time, so that its window stays open."""
    await write_down(changes, ctx)


@declared.on("public.rooms", transactional=True, shards=2)
async def parted(changes: Sequence[Change], ctx: Context) -> None:
    """Has a cursor for each half of the keys."""
    await write_down(changes, ctx)


@pytest.fixture
async def source_url(database_url: str) -> AsyncIterator[str]:
    """A database in which `whole` is in the middle of a window, and one shard of `parted` has seen nothing."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(TABLES)
    async with bench(database_url, whole, parted, declared=declared) as source:
        for i in range(8):
            await source.execute("insert into rooms values (%s, 'before')", (i,))
        await turn(source, whole.__name__, 0)
        await turn(source, parted.__name__, 1)
        open_windows = await source.execute("select handler from hearken.cursors where target is not null")
        assert open_windows == [{"handler": "whole"}]
    yield database_url


async def turn(opened: Bench, handler: str, shard: int) -> None:
    """Let one consumer do one batch."""
    (consumer,) = (c for c in opened.consumers if (c.handler.name, c.shard) == (handler, shard))
    await consumer.turn()


@contextmanager
def restored(server: EmbeddedPostgres, source_url: str, shift: int) -> Iterator[str]:
    """A copy of the database, as if its source had used so many transaction ids more than this server has."""
    with new_database(server, urlsplit(source_url).path[1:]) as url:
        with psycopg.connect(url) as connection:
            move = "update hearken.events set tx = (tx::text::bigint + %s)::text::xid8"
            connection.execute(move, (shift,))
            for handler, shard, *snapshots in connection.execute(
                "select handler, shard, done::text, target::text from hearken.cursors"
            ).fetchall():
                done, target = (shifted(snapshot, shift) for snapshot in snapshots)
                connection.execute(
                    "update hearken.cursors set done = %s, target = %s where handler = %s and shard = %s",
                    (done, target, handler, shard),
                )
        yield url


def shifted(snapshot: str | None, shift: int) -> str | None:
    return None if snapshot is None else re.sub(r"\d+", lambda number: str(int(number[0]) + shift), snapshot)


async def take_over(url: str) -> Rebased:
    database = Database(Settings.model_validate({"DATABASE_URL": url}))
    async with await database.connect() as connection:
        return await rebase(connection, Actor("test"))


async def check_everything_once(opened: Bench) -> None:
    """Every change has reached both handlers, once, and those of one key in order."""
    originals = [row["id"] for row in await opened.execute("select id from hearken.events where replay_of is null")]
    for handler in (whole, parted):
        seen = await opened.execute(SEEN, (handler.__name__,))
        assert sorted(row["original"] for row in seen) == sorted(originals)
        for key in {row["key"] for row in seen}:
            of_key = [row["original"] for row in seen if row["key"] == key]
            assert of_key == sorted(of_key)


@pytest.mark.parametrize("shift", [-300, 0, 1_000_000])
async def test_every_event_is_delivered_once_and_in_order(
    shared_postgres: EmbeddedPostgres, source_url: str, shift: int
) -> None:
    """Whichever database has used more transaction ids; also what was changed between restore and rebase."""
    with restored(shared_postgres, source_url, shift) as url:
        async with bench(url, whole, parted, declared=declared) as copy:
            await copy.execute("update rooms set name = 'after' where id >= 4")
            await copy.execute("insert into rooms values (100, 'after')")
            with pytest.raises(ForeignCursor):
                await copy.drain()
            rebased = await take_over(url)
            assert rebased.cursors == [("parted", 0), ("parted", 1), ("whole", 0)]
            await copy.execute("update rooms set name = 'later' where id = 7")
            await copy.drain()
            await check_everything_once(copy)
            assert await copy.execute(INVISIBLE) == []


async def test_what_was_put_aside_stays_put_aside(shared_postgres: EmbeddedPostgres, source_url: str) -> None:
    """A parked event is known by its id, which does not change: it is neither lost nor appended again."""
    with restored(shared_postgres, source_url, 1_000_000) as url:
        async with bench(url, whole, parted, declared=declared) as copy:
            await copy.execute(PARK)
            await take_over(url)
            again = await copy.execute("select id from hearken.events where key = '0' and 'whole' = any(target)")
            assert again == []
            await copy.drain()
            assert await copy.parked() == []


async def test_the_brake_of_another_database_is_taken_off(shared_postgres: EmbeddedPostgres, source_url: str) -> None:
    """What it saw means nothing here, and is judged again; its handler waits for a person. Who rebased is kept."""
    with restored(shared_postgres, source_url, 1_000_000) as url:
        async with bench(url, whole, parted, declared=declared) as copy:
            await copy.execute(
                "insert into hearken.brakes (handler, target, deleted, archived, truncated, most)"
                " values ('whole', '5:5:', 120, 0, false, 100)"
            )
            await copy.execute("insert into hearken.paused (handler, by, reason) values ('whole', 'hearken', 'brake')")
            await take_over(url)
            assert await copy.execute("select from hearken.brakes") == []
            assert [row["handler"] for row in await copy.execute("select handler from hearken.paused")] == ["whole"]
            actions = await copy.execute("select action, by, handler from hearken.actions order by handler")
            assert [tuple(action.values()) for action in actions] == [
                ("rebase", "test", "parted"),
                ("rebase", "test", "whole"),
            ]


async def test_only_cursors_of_another_database_are_rebased(source_url: str) -> None:
    """In the database that wrote them there is nothing to do, and nothing is done."""
    with pytest.raises(DatabaseError, match="nothing to rebase"):
        await take_over(source_url)
    async with bench(source_url, whole, parted, declared=declared) as source:
        await source.drain()
        await check_everything_once(source)


async def test_a_writer_that_stays_open_is_named(
    shared_postgres: EmbeddedPostgres, source_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has appended could not be told apart: the rebase is refused, with nothing changed, and works later."""
    monkeypatch.setattr(rebasing, "LOCK_TIMEOUT", "set local lock_timeout = '50ms'")
    with restored(shared_postgres, source_url, 1_000_000) as url:
        async with await psycopg.AsyncConnection.connect(url) as writer:
            await writer.execute("update rooms set name = 'open'")
            with pytest.raises(DatabaseError, match="is still open"):
                await take_over(url)
            await writer.commit()
        async with bench(url, whole, parted, declared=declared) as copy:
            await take_over(url)
            await copy.drain()
            await check_everything_once(copy)
