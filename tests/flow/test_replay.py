"""Promise: a replayed event is the old one again, for those it is meant for, and says who asked for it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from tests.support.replays import replay_again
from worker.change import Change
from worker.declare.registry import Registry
from worker.deliver.context import Context
from worker.errors import UsageError
from worker.operate.audit import Actor
from worker.operate.events import Filter
from worker.operate.replay import append_chunk, begin_replay, choose_audience
from worker.operate.selection import Selection, take_snapshot
from worker.testing import Bench, bench

declared = Registry()
TOPIC = "public.rooms"
given: list[tuple[str, int | None, Any]] = []


@declared.on(TOPIC)
async def listen(change: Change, ctx: Context) -> None:
    """Write down what it is given."""
    given.append((ctx.handler, change.replay_of, change.note))


@declared.on(TOPIC, watch=("price",), ops=("update",))
async def reprice(change: Change, ctx: Context) -> None:
    """The same, of prices alone."""
    given.append((ctx.handler, change.replay_of, change.note))


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Bench]:
    given.clear()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("create table rooms (id int primary key, name text, price int)")
    async with bench(database_url, listen, reprice, declared=declared) as opened:
        yield opened


async def again(rooms: Bench, ids: list[int], *names: str) -> dict[str, int]:
    """Replay them; returns how many events each handler is given."""
    return await replay_again(rooms.connection, declared.handlers, TOPIC, ids, *names)


async def test_the_note_of_the_change_is_kept_beside_the_reason(rooms: Bench) -> None:
    """A handler that reads who made the change reads it in the replay too; text that is no object is kept as it is."""
    for key, note in ((1, '{"by": "ann"}'), (2, "by hand"), (3, "")):
        await rooms.execute("select set_config('hearken.note', %s, false)", (note,))
        await rooms.execute("insert into rooms values (%s)", (key,))
    await rooms.drain()
    given.clear()
    await again(rooms, [1, 2, 3])
    await rooms.drain()
    said = {"replay": {"run": 4, "by": "me@here", "reason": "it was lost"}}
    assert [note for _, _, note in given] == [{"by": "ann", **said}, {"note": "by hand", **said}, said]


async def test_the_values_are_those_of_the_old_event(rooms: Bench) -> None:
    """Byte for byte, whatever the row is now."""
    await rooms.execute("insert into rooms values (1, 'blue', 10)")
    await rooms.execute("update rooms set name = 'red'")
    await again(rooms, [2])
    rows = await rooms.execute(
        "select old::text as old, new::text as new from hearken.events where 2 in (id, replay_of)"
    )
    assert rows[0] == rows[1]
    assert json.loads(rows[1]["old"]) == {"id": 1, "name": "blue", "price": 10}


async def test_a_handlers_own_change_comes_back_only_when_it_is_chosen(rooms: Bench) -> None:
    """It hears nothing of what it did itself, unless an operator wants it to."""
    await rooms.execute("select set_config('hearken.origin', 'listen', false)")
    await rooms.execute("insert into rooms values (1)")
    await rooms.execute("update rooms set price = 1")
    assert await again(rooms, [2]) == {"listen": 0, "reprice": 1}
    assert await again(rooms, [2], "listen") == {"listen": 1}
    await rooms.drain()
    assert [(handler, of) for handler, of, _ in given] == [("listen", 2), ("reprice", None), ("reprice", 2)]


async def test_events_that_nobody_asked_for_are_not_replayed(rooms: Bench) -> None:
    """Neither for one that is chosen, nor when no handler at all would get one."""
    await rooms.execute("insert into rooms values (1, 'blue', 10)")
    with pytest.raises(UsageError, match="reprice asks for none"):
        await again(rooms, [1], "reprice")
    await rooms.execute("delete from hearken.cursors where handler = 'listen'")
    with pytest.raises(UsageError, match="no handler asks"):
        await again(rooms, [1])
    assert await rooms.execute("select count(*) as events from hearken.events") == [{"events": 1}]


async def test_what_was_in_flight_when_it_was_chosen_is_no_part_of_it(rooms: Bench, database_url: str) -> None:
    """Its id is among the chosen ones, and its handlers hear of it as of any new change: nobody replays it."""
    async with await psycopg.AsyncConnection.connect(database_url) as slow:
        await slow.execute("insert into rooms values (1)")
        await rooms.execute("insert into rooms values (2)")
        audience = await choose_audience(rooms.connection, declared.handlers, (), [TOPIC])
        snapshot = await take_snapshot(rooms.connection)
        choice = Selection(Filter([TOPIC]), audience.handlers, audience.named, dead=False, snapshot=snapshot)
        run = await begin_replay(rooms.connection, choice, Actor("me@here"), {})
        await slow.commit()
    chunk = await append_chunk(rooms.connection, run, 0, 100)
    assert chunk is not None
    assert [event["replay_of"] for event in chunk.events] == [2]


async def test_it_counts_what_handlers_are_then_given(rooms: Bench) -> None:
    """For each of the operations, columns and origins: the count before is the number of deliveries after."""
    await rooms.execute("insert into rooms values (1, 'blue', 10), (2, 'red', 20)")
    await rooms.execute("update rooms set name = 'x'")
    await rooms.execute("update rooms set price = 3 where id = 1")
    await rooms.execute("select set_config('hearken.origin', 'reprice', false)")
    await rooms.execute("update rooms set price = 4")
    await rooms.execute("delete from rooms")
    await rooms.drain()
    for names in ((), ("reprice",), ("listen", "reprice")):
        given.clear()
        counted = await again(rooms, [1, 2, 3, 4, 5, 6, 7, 8, 9], *names)
        assert sum(counted.values()) > 0
        await rooms.drain()
        assert {name: sum(handler == name for handler, _, _ in given) for name in counted} == counted
