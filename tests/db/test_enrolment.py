"""Promise: a handler that is new, renamed, moved or in more shards gets every event it should, and none twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.waiting import until_blocked
from tests.support.watched import Watched, connect, declare, watching
from worker import Change, Context, Retry
from worker.declare.registry import Registry
from worker.errors import MigrationError
from worker.install.migrate import find_pending
from worker.log import cursors
from worker.log.cursors import Position
from worker.operate.audit import Actor
from worker.operate.handlers import pause
from worker.postgres.database import Database
from worker.settings import Settings
from worker.testing import bench

BRAKED = """
insert into hearken.brakes (handler, target, deleted, archived, truncated, most)
values ('first', '1:1:', 120, 0, false, 100)
"""

TABLES = "create table rooms (id int primary key, v int); create table plans (id int primary key)"


@dataclass
class Stage:
    """Rooms with handlers that write down what they are given: handler, key, operation."""

    url: str
    rooms: Watched
    given: list[tuple[str, str | None, str]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def declare(self, name: str, into: Registry | None = None, topic: str = "public.rooms", **options: Any) -> Registry:
        async def note(change: Change, ctx: Context) -> None:
            if change.key in self.refused:
                raise Retry("told to")
            self.given.append((ctx.handler, change.key, change.op))

        return declare(topic, name, into, note, **options)

    async def deliver(self, declared: Registry) -> list[tuple[str, str | None, str]]:
        """Migrate and deliver what there is; returns what was given since the last time."""
        functions: list[Callable[..., Any]] = [h.function for h in declared.handlers.values()]
        async with bench(self.url, *functions, declared=declared) as stage:
            await stage.drain()
        given, self.given = self.given, []
        return sorted(given)


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """Rooms, heard by `first` from the beginning."""
    async with watching(database_url, TABLES, "public.rooms", name="first") as rooms:
        yield Stage(database_url, rooms)


async def test_a_new_handler_starts_at_now(stage: Stage) -> None:
    """It hears nothing of before, everything of afterwards, and of a transaction that was open then."""
    async with connect(stage.url) as writer:
        await stage.rooms.execute("insert into rooms values (1)")
        await writer.execute("begin")
        await writer.execute("insert into rooms values (2)")
        both = stage.declare("second", stage.declare("first"))
        await stage.rooms.migrate(both)
        await stage.rooms.execute("insert into rooms values (3)")
        await writer.execute("insert into rooms values (4)")
        await writer.commit()
    given = await stage.deliver(both)
    assert [key for name, key, _ in given if name == "first"] == ["1", "2", "3", "4"]
    assert [key for name, key, _ in given if name == "second"] == ["2", "3", "4"]


async def test_a_handler_of_a_new_table_misses_nothing(stage: Stage) -> None:
    """Its cursor is made before its triggers: what is captured first is already behind it."""
    declared = stage.declare("planner", stage.declare("first"), "public.plans")
    stop = asyncio.Event()

    async def write() -> int:
        number = 0
        async with connect(stage.url) as connection:
            while not stop.is_set():
                number += 1
                await connection.execute("insert into plans values (%s)", (number,))
        return number

    writing = asyncio.create_task(write())
    await stage.rooms.migrate(declared)
    stop.set()
    await writing
    captured = [event.key for event in await stage.rooms.captured()]
    assert [key for _, key, _ in await stage.deliver(declared)] == sorted(captured, key=str)


async def test_a_handler_that_seems_renamed_is_refused(stage: Stage) -> None:
    """One is new and one is gone, both on one table: to guess could lose events, so it says what to declare."""
    with pytest.raises(
        MigrationError,
        match=r"handler second is new and first is gone, both on public\.rooms: if it was renamed, declare "
        r"formerly='first'; if first was removed for good, run `hearken forget first`",
    ):
        await stage.rooms.migrate(stage.declare("second"))
    assert await stage.rooms.rows("select handler from hearken.cursors") == [{"handler": "first"}]


async def test_a_renamed_handler_takes_everything_over(stage: Stage) -> None:
    """The cursor with what is undelivered, what is parked and held, pause and brake; nothing is given twice."""
    stage.refused = {"1"}
    first = stage.declare("first")
    await stage.rooms.execute("insert into rooms values (1, 1), (2, 2)")
    assert [key for _, key, _ in await stage.deliver(first)] == ["2"]
    await stage.rooms.execute("update rooms set v = 3")
    assert [key for _, key, _ in await stage.deliver(first)] == ["2"]
    await stage.rooms.execute("insert into rooms values (3, 3)")
    await pause(stage.rooms.connection, "first", Actor("test", "x"))
    await stage.rooms.execute(BRAKED)
    second = stage.declare("second", formerly="first")
    assert [e.text for e in (await find_pending(stage.rooms.connection, second)).enrolments] == [
        "takes over the cursor of first"
    ]
    assert await stage.deliver(second) == []
    await stage.rooms.execute("delete from hearken.paused where handler = 'second'")
    assert await stage.rooms.rows("select handler from hearken.brakes") == [{"handler": "second"}]
    stage.refused = set()
    await stage.rooms.execute("update hearken.parked set due_at = now()")
    assert await stage.deliver(second) == [
        ("second", "1", "insert"),
        ("second", "1", "update"),
        ("second", "3", "insert"),
    ]
    assert await stage.rooms.rows("select from hearken.parked") == []
    assert not await find_pending(stage.rooms.connection, stage.declare("second"))


async def test_a_handler_renamed_twice_may_skip_a_deployment(stage: Stage) -> None:
    """Only the last name known to the database counts."""
    await stage.rooms.execute("insert into rooms values (1)")
    await stage.rooms.migrate(stage.declare("second", formerly="first"))
    assert await stage.deliver(stage.declare("third", formerly="second", shards=1)) == [("third", "1", "insert")]


@pytest.mark.parametrize("shards", [1, 3])
async def test_a_rename_waits_for_a_move_that_is_being_committed(stage: Stage, shards: int) -> None:
    """A worker that moves a shard's cursor at that moment does not make it stay behind under the old name."""
    moving = stage.declare("moving", stage.declare("first"), "public.plans", shards=shards)
    await stage.rooms.migrate(moving)
    renamed = stage.declare("moved", stage.declare("first"), "public.plans", formerly="moving", shards=shards)
    database = Database(Settings.model_validate({"DATABASE_URL": stage.url}))
    worker = await database.connect()
    try:
        claim = await cursors.claim(worker, moving.handlers["moving"], 0)
        assert claim is not None
        await cursors.move(worker, claim, Position(done=claim.position.done))
        migrating = asyncio.create_task(stage.rooms.migrate(renamed))
        async with connect(stage.url) as watcher:
            await until_blocked(watcher)
        await worker.commit()
        assert [e.action for e in (await migrating).enrolments] == ["rename"]
    finally:
        await worker.close()
    rows = await stage.rooms.rows("select shard from hearken.cursors where handler = 'moved' order by shard")
    assert [row["shard"] for row in rows] == list(range(shards))
    assert not await stage.rooms.rows("select from hearken.cursors where handler = 'moving'")


async def test_other_shards_are_refused_while_something_is_undelivered(stage: Stage) -> None:
    """Which of the old shards has had what could not be said of the new ones."""
    await stage.rooms.execute("insert into rooms values (1)")
    with pytest.raises(MigrationError, match=r"first has undelivered events: let it finish with 1 shards first, then"):
        await stage.rooms.migrate(stage.declare("first", shards=4))
    assert [key for _, key, _ in await stage.deliver(stage.declare("first"))] == ["1"]


async def test_other_shards_are_refused_while_a_batch_runs(stage: Stage) -> None:
    """Its cursor is in somebody's hands."""
    database = Database(Settings.model_validate({"DATABASE_URL": stage.url}))
    worker = await database.connect()
    try:
        assert await cursors.claim(worker, stage.declare("first").handlers["first"], 0) is not None
        with pytest.raises(
            MigrationError, match=r"handler first is running, or .* for longer than 5 s: stop its workers"
        ):
            await stage.rooms.migrate(stage.declare("first", shards=4))
    finally:
        await worker.close()


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 3), (3, 1)])
async def test_other_shards_are_exact(stage: Stage, before: int, after: int) -> None:
    """With transactions open meanwhile and one parked: each event is given once, by the shard of its key."""
    stage.refused = {"1"}
    old = stage.declare("many", stage.declare("first"), "public.plans", shards=before)
    await stage.rooms.migrate(old)
    await stage.rooms.execute("insert into plans select generate_series(1, 50)")
    given = await stage.deliver(old)
    async with connect(stage.url) as writer:
        await writer.execute("begin")
        await writer.execute("insert into plans select generate_series(51, 80)")
        new = stage.declare("many", stage.declare("first"), "public.plans", shards=after)
        assert [e.action for e in (await stage.rooms.migrate(new)).enrolments] == ["reshard"]
        await stage.rooms.execute("insert into plans select generate_series(81, 99)")
        given += await stage.deliver(new)
        await writer.commit()
    stage.refused = set()
    await stage.rooms.execute("update hearken.parked set due_at = now()")
    given += await stage.deliver(new)
    assert Counter(key for _, key, _ in given) == {str(number): 1 for number in range(1, 100)}


async def test_a_handler_renamed_and_in_more_shards_needs_one_migration(stage: Stage) -> None:
    """First it is renamed, then its shards are made."""
    declared = stage.declare("second", formerly="first", shards=2)
    assert [e.action for e in (await stage.rooms.migrate(declared)).enrolments] == ["rename", "reshard"]
    assert not await find_pending(stage.rooms.connection, declared)
    await stage.rooms.execute("insert into rooms select generate_series(1, 9)")
    assert len(await stage.deliver(declared)) == 9


async def test_a_handler_that_moves_to_another_table_hears_that_one(stage: Stage) -> None:
    """From when it was migrated on, after what it had not been given; its old topic is not heard any more."""
    await stage.rooms.execute("insert into rooms values (1)")
    moved = stage.declare("first", topic="public.plans")
    assert [e.text for e in (await stage.rooms.migrate(moved)).enrolments] == [
        "receives public.plans instead of public.rooms"
    ]
    await stage.rooms.execute("insert into plans values (7)", "insert into rooms values (2)")
    assert await stage.deliver(moved) == [("first", "1", "insert"), ("first", "7", "insert")]
