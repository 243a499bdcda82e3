"""Promise: a handler that moves to another table, or whose table is renamed, takes along what it has not been given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.waiting import until_blocked
from tests.support.watched import Watched, connect, declare, watching
from worker import Change, Context, Retry
from worker.declare.registry import Registry
from worker.errors import MigrationError
from worker.install.migrate import find_pending
from worker.testing import bench

TABLES = "create table rooms (id int primary key, v int); create table halls (id int primary key, v int)"
RENAME = "alter table rooms rename to chambers"
REPLACE = """
begin; create table rooms_new (like rooms including all); insert into rooms_new select * from rooms;
alter table rooms rename to rooms_old; alter table rooms_new rename to rooms; commit
"""


@dataclass
class Stage:
    """Rooms, and handlers that write down what they are given."""

    url: str
    rooms: Watched
    given: list[tuple[str, str, str | None, Any]] = field(default_factory=list)
    refused: set[str | None] = field(default_factory=set)

    def declare(self, topic: str, *names: str, into: Registry | None = None, **options: Any) -> Registry:
        async def note(change: Change, ctx: Context) -> None:
            if change.key in self.refused:
                raise Retry("told to")
            self.given.append((change.topic, change.op, change.key, (change.new or change.old or {}).get("v")))

        declared = into or Registry()
        for name in names or ("first",):
            declare(topic, name, declared, note, **options)
        return declared

    async def deliver(self, declared: Registry, turns: int | None = None) -> list[tuple[str, str, str | None, Any]]:
        """Migrate and deliver what there is; returns what was given since the last time."""
        functions = [h.function for h in declared.handlers.values()]
        async with bench(self.url, *functions, declared=declared) as opened:
            if turns is None:
                await opened.drain()
            for _ in range(turns or 0):
                await opened.consumers[0].turn()
        given, self.given = self.given, []
        return given

    async def due(self) -> None:
        await self.rooms.execute("update hearken.parked set due_at = now() where state <> 'dead'")


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    async with watching(database_url, TABLES, "public.rooms", name="first") as rooms:
        yield Stage(database_url, rooms)


@pytest.mark.parametrize("options", [{}, {"fold": True}, {"shards": 3}], ids=["plain", "fold", "shards"])
async def test_a_table_is_renamed_while_its_handler_is_behind(stage: Stage, options: dict[str, Any]) -> None:
    """What was written before the rename, between it and the migration, and after, comes once and in order."""
    before, after = (stage.declare(topic, **options) for topic in ("public.rooms", "public.chambers"))
    await stage.rooms.migrate(before)
    await stage.rooms.execute("insert into rooms values (1, 1), (2, 1)", RENAME, "update chambers set v = 2")
    assert [e.text for e in (await find_pending(stage.rooms.connection, after)).enrolments] == [
        "receives public.chambers instead of public.rooms"
    ]
    await stage.rooms.migrate(after)
    await stage.rooms.execute("update chambers set v = 3")
    given = await stage.deliver(after)
    for key in ("1", "2"):
        assert [v for _, _, its_key, v in given if its_key == key] == ([3] if options.get("fold") else [1, 2, 3])
    assert {topic for topic, *_ in given} == {"public.chambers"}
    assert not await find_pending(stage.rooms.connection, after)


async def test_each_handler_of_a_renamed_table_takes_along_its_own(stage: Stage) -> None:
    """One has had everything, one is behind, one has its window half read: none is given anything twice."""
    names = ("first", "second")
    before, after = (stage.declare(topic, *names, batch=2) for topic in ("public.rooms", "public.chambers"))
    await stage.rooms.migrate(before)
    await stage.rooms.execute("insert into rooms select generate_series(1, 5)")
    assert len(await stage.deliver(before, turns=1)) == 2
    await stage.rooms.execute(RENAME, "insert into chambers values (6)")
    given = await stage.deliver(after)
    assert sorted(int(key or 0) for _, _, key, _ in given) == sorted([3, 4, 5, 6, 1, 2, 3, 4, 5, 6])


async def test_what_is_parked_is_moved_too(stage: Stage) -> None:
    """Due, held and dead: found under the new name, with what is behind them in order, and no attempt lost."""
    before, after = stage.declare("public.rooms", attempts=2), stage.declare("public.chambers", attempts=2)
    stage.refused = {"1", "2"}
    await stage.rooms.execute("insert into rooms values (2, 1)")
    await stage.deliver(before)
    await stage.due()
    await stage.deliver(before)
    await stage.rooms.execute("insert into rooms values (1, 1)", "update rooms set v = 2 where id = 1")
    await stage.deliver(before)
    await stage.rooms.execute("update rooms set v = 3 where id = 1", RENAME, "update chambers set v = 4 where id = 1")
    await stage.rooms.migrate(after)
    parked = await stage.rooms.rows("select topic, key, state, attempt from hearken.parked order by event_id")
    assert [tuple(row.values()) for row in parked] == [
        ("public.chambers", "2", "dead", 2),
        ("public.chambers", "1", "due", 1),
        ("public.chambers", "1", "held", 0),
    ]
    stage.refused = set()
    await stage.due()
    given = await stage.deliver(after)
    assert [v for _, _, key, v in given if key == "1"] == [1, 2, 3, 4]
    await stage.rooms.execute("update hearken.parked set state = 'due', due_at = now()")
    assert await stage.deliver(after) == [("public.chambers", "insert", "2", 1)]
    assert not await stage.rooms.rows("select from hearken.parked")


async def test_an_open_transaction_of_the_renamed_table_is_waited_for(stage: Stage) -> None:
    """Its events would come before older ones of their key, which are only appended now."""
    after = stage.declare("public.chambers")
    await stage.rooms.execute("insert into rooms values (1, 1)", RENAME)
    async with connect(stage.url) as writer:
        await writer.execute("begin")
        await writer.execute("update chambers set v = 2")
        migrating = asyncio.create_task(stage.rooms.migrate(after))
        async with connect(stage.url) as watcher:
            await until_blocked(watcher)
        await writer.execute("commit")
        await migrating
    assert [v for *_, v in await stage.deliver(after)] == [1, 2]


async def test_one_that_stays_open_is_named_and_nothing_is_changed(stage: Stage) -> None:
    """Who migrates is told what to end, and may try again."""
    after = stage.declare("public.chambers")
    await stage.rooms.execute("insert into rooms values (1, 1)", RENAME)
    async with connect(stage.url) as writer:
        await writer.execute("begin")
        await writer.execute("update chambers set v = 2")
        with pytest.raises(MigrationError, match="its table is being written, for longer than 5 s"):
            await stage.rooms.migrate(after)
        await writer.execute("rollback")
    assert await stage.rooms.rows("select topics from hearken.cursors") == [{"topics": ["public.rooms"]}]
    assert [v for *_, v in await stage.deliver(after)] == [1]


async def test_a_handler_that_moves_to_a_table_that_others_hear(stage: Stage) -> None:
    """It takes along what it has not had; of the other table it hears what comes from now on."""
    both = stage.declare("public.halls", "other", into=stage.declare("public.rooms"))
    await stage.rooms.migrate(both)
    await stage.rooms.execute("insert into rooms values (1, 1)", "insert into halls values (7, 7)")
    moved = stage.declare("public.halls", "other", "first")
    await stage.rooms.migrate(moved)
    await stage.rooms.execute("insert into halls values (8, 8)")
    given = await stage.deliver(moved)
    assert sorted(v for *_, v in given) == [1, 7, 8, 8]


async def test_a_table_that_replaced_another_is_not_taken_for_it(stage: Stage) -> None:
    """Cleaning up the one that was renamed away deletes nothing of the one that has its name now."""
    here = stage.declare("public.rooms")
    await stage.rooms.execute("insert into rooms values (1, 1)")
    assert len(await stage.deliver(here)) == 1
    await stage.rooms.execute(*REPLACE.split(";"), "delete from rooms_old")
    events = await stage.rooms.events()
    assert [(e["topic"], e["op"]) for e in events] == [("public.rooms", "insert"), ("public.rooms_old", "delete")]
    pending = (await find_pending(stage.rooms.connection, here)).triggers
    assert {(t.topic, t.state) for t in pending} == {("public.rooms", "missing"), ("public.rooms_old", "orphan")}
    await stage.rooms.migrate(here)
    await stage.rooms.execute("update rooms set v = 2", "truncate rooms_old")
    assert await stage.deliver(here) == [("public.rooms", "update", "1", 2)]


@pytest.mark.parametrize("sibling", ["set schema archive", "rename to older"])
@pytest.mark.parametrize("statement", ["insert into {} values (9, 9)", "update {} set v = 9", "truncate {}"])
async def test_every_operation_says_which_table_it_was(stage: Stage, sibling: str, statement: str) -> None:
    """A renamed table is still the topic's, until another one has its name; also in another schema of the same name."""
    await stage.rooms.execute(
        "insert into rooms values (1, 1)", "create schema archive", f"alter table rooms {sibling}"
    )
    await stage.rooms.events()
    place = "archive.rooms" if "schema" in sibling else "public.older"
    await stage.rooms.execute(statement.format(place))
    assert [event["topic"] for event in await stage.rooms.events()] == ["public.rooms"]
    again = ("truncate {}", "insert into {} values (1, 1)") if "insert" not in statement else ("truncate {}",)
    await stage.rooms.execute("create table rooms (id int primary key, v int)", *(s.format(place) for s in again))
    await stage.rooms.events()
    await stage.rooms.execute(statement.format(place))
    assert [event["topic"] for event in await stage.rooms.events()] == [place]


async def test_from_a_table_to_something_else_nothing_may_be_left(stage: Stage) -> None:
    """An event of a table cannot be a tick: it is refused, and says what to do."""
    await stage.rooms.execute("insert into rooms values (1, 1)")
    ticking = Registry()

    async def first(change: Change, ctx: Context) -> None:
        """Tick."""

    ticking.every("0 2 * * *")(first)
    with pytest.raises(MigrationError, match=r"first has undelivered or parked events of public\.rooms, .* tick/first"):
        await stage.rooms.migrate(ticking)
    assert len(await stage.deliver(stage.declare("public.rooms"))) == 1
    await stage.rooms.migrate(ticking)
