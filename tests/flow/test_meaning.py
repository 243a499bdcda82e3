"""Promise: a cursor is only moved by code that declares its handler as the cursor was migrated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.watched import connect
from worker import Change, Context
from worker.declare.registry import Registry
from worker.deliver.progress import Turn
from worker.errors import CheckFailed
from worker.observe.stalls import judge_alone
from worker.observe.status import read_status
from worker.operate.explain import read_history
from worker.testing import Bench, bench

TABLES = """
create table rooms (id int primary key, name text, seats int, secret text);
create table halls (id int primary key)
"""
# What may differ, and how two versions of the code say it.
DIFFERENCES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"watch": ("name",)}, {"watch": ("name", "seats")}),
    ({"watch": ("name", "seats")}, {"watch": ("name",)}),
    ({"watch": ("name",)}, {}),
    ({"ops": ("insert",)}, {"ops": ("insert", "update")}),
    ({}, {"exclude": ("secret",)}),
    ({"fold": True}, {}),
    ({}, {"transactional": True}),
    ({}, {"shards": 3}),
    ({"shards": 3}, {}),
    ({}, {"topic": "public.halls"}),
    ({"formerly": "older"}, {"watch": ("name",), "formerly": "older"}),
]


class Versions:
    """Two versions of one handler, each with a worker of its own over one database."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self.given: list[tuple[str, str | None]] = []
        self._stack = stack

    async def deploy(self, version: str, **options: Any) -> Bench:
        """Migrate with this version's code, and start its worker."""
        declared = Registry()

        async def mirror(change: Change | Sequence[Change], ctx: Context) -> None:
            for one in [change] if isinstance(change, Change) else change:
                self.given.append((version, one.key))

        declared.on(options.pop("topic", "public.rooms"), **options)(mirror)
        return await self._stack.enter_async_context(bench(self.url, mirror, declared=declared))


@pytest.fixture
async def versions(database_url: str) -> AsyncIterator[Versions]:
    async with connect(database_url) as connection:
        await connection.execute(TABLES)
    async with AsyncExitStack() as stack:
        yield Versions(database_url, stack)


async def turns(worker: Bench) -> set[Turn]:
    return {await consumer.turn() for consumer in worker.consumers}


@pytest.mark.parametrize(("older", "newer"), DIFFERENCES, ids=lambda options: "-".join(options) or "plain")
async def test_in_a_deploys_overlap_the_older_worker_steps_aside(
    versions: Versions, older: dict[str, Any], newer: dict[str, Any]
) -> None:
    """Whatever differs: it takes nothing and moves nothing; after a rollback the newer one does the same."""
    old = await versions.deploy("old", **older)
    new = await versions.deploy("new", **newer)
    before = await new.execute("select * from hearken.cursors order by shard")
    await new.execute("insert into rooms values (1)")
    await new.execute("insert into halls values (1)")
    assert await turns(old) == {Turn.ASIDE}
    assert await new.execute("select * from hearken.cursors order by shard") == before
    await new.drain()
    assert versions.given == [("new", "1")]
    again = await versions.deploy("again", **older)
    await new.execute("insert into rooms values (2)")
    assert await turns(new) == {Turn.ASIDE}
    await again.drain()
    assert versions.given[1:] == [("again", "2")]


async def test_what_is_unread_is_judged_by_the_new_declaration(versions: Versions) -> None:
    """The case of a deploy's overlap: the older worker would have filtered it out, and moved on."""
    old = await versions.deploy("old", watch=("name",))
    await old.execute("insert into rooms values (1, 'blue', 2)")
    await old.drain()
    new = await versions.deploy("new", watch=("name", "seats"))
    await new.execute("update rooms set seats = 3")
    assert await turns(old) == {Turn.ASIDE}
    await new.drain()
    assert versions.given == [("old", "1"), ("new", "1")]


async def test_a_batch_of_the_old_declaration_does_not_settle_after_the_migration(versions: Versions) -> None:
    """It is rolled back, and what it had read is judged anew."""
    at_work, go_on = asyncio.Event(), asyncio.Event()
    declared = Registry()

    async def mirror(changes: Sequence[Change], ctx: Context) -> None:
        at_work.set()
        await go_on.wait()

    declared.on("public.rooms", transactional=True, ops=("insert",))(mirror)
    async with bench(versions.url, mirror, declared=declared) as old:
        await old.execute("insert into rooms values (1)")
        turn = asyncio.create_task(old.consumers[0].turn())
        await at_work.wait()
        new = await versions.deploy("new", transactional=True)
        go_on.set()
        with pytest.raises(Exception, match="was moved by another worker"):
            await turn
        await new.drain()
    assert versions.given == [("new", "1")]


async def test_it_is_said_once_and_shown_everywhere(versions: Versions) -> None:
    """In the log when it begins, in /readyz while it lasts, and in the status; with what to do."""
    old = await versions.deploy("old", watch=("name",))
    await versions.deploy("new", watch=("name", "seats"))
    with capture_logs() as lines:
        for _ in range(3):
            assert await turns(old) == {Turn.ASIDE}
    assert [(line["event"], line["handler"]) for line in lines] == [("stepping aside", "mirror")]
    (consumer,) = old.consumers
    with pytest.raises(
        CheckFailed, match=r"stepping aside: .* \(watch=name, seats is now name\): if this code is the ne"
    ):
        judge_alone(consumer, 60)
    (status,) = await read_status(old.connection, {"mirror": consumer.handler})
    assert status.differs == "watch=name, seats is now name"


async def test_a_cursor_without_a_stored_declaration_is_left_alone(versions: Versions) -> None:
    """As after an upgrade, until `hearken migrate` has run."""
    worker = await versions.deploy("old")
    await worker.execute("delete from hearken.declarations")
    with pytest.raises(Exception, match="mirror has no stored declaration: run `hearken migrate`"):
        await worker.consumers[0].turn()
    migrated = await versions.deploy("new")
    await migrated.execute("insert into rooms values (1)")
    await migrated.drain()
    assert versions.given == [("new", "1")]


async def test_explain_says_what_was_not_asked_for(versions: Versions) -> None:
    """Of what was passed: before there was a handler, or under a declaration that did not want it."""
    first = await versions.deploy("other", ops=("insert", "update"))
    await first.execute("insert into rooms values (1)")
    await first.drain()
    narrow = await versions.deploy("old", ops=("update",))
    await narrow.execute("insert into rooms values (2)")
    await narrow.execute("insert into hearken.events (topic, op, key) values ('public.rooms', 'insert', '2')")
    await narrow.execute("update rooms set seats = 1 where id = 2")
    await narrow.drain()
    wide = await versions.deploy("new", ops=("insert", "update"))
    await wide.execute("insert into hearken.events (topic, op, key) values ('public.rooms', 'insert', '2')")
    states = {}
    for key in ("1", "2"):
        handlers = [wide.consumers[0].handler]
        told = await read_history(wide.connection, "public.rooms", key, handlers, since=None, limit=10)
        states[key] = [d.state for d in told.deliveries]
    assert states == {"1": ["delivered"], "2": ["not asked for", "delivered", "waiting"]}


async def test_explain_knows_what_was_before_the_handler(versions: Versions) -> None:
    """A new handler starts at now: nothing earlier was delivered to it."""
    async with bench(versions.url, declared=Registry()) as nobody:
        await nobody.execute("insert into hearken.events (topic, op, key) values ('public.rooms', 'insert', '1')")
    late = await versions.deploy("late")
    handlers = [late.consumers[0].handler]
    told = await read_history(late.connection, "public.rooms", "1", handlers, since=None, limit=10)
    assert [d.state for d in told.deliveries] == ["not asked for"]
