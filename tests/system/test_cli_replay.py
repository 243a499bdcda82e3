"""Promise: `hearken replay` gives past events once more to the handlers chosen, and says what it did."""

from __future__ import annotations

import asyncio

import psycopg

from tests.support.cli import SAMPLE, Rooms, hearken
from tests.support.workers import start_worker

TELL = b"""
create function told() returns trigger language plpgsql as
    'begin perform pg_notify(''told'', new.event_id::text); return new; end';
create trigger told after insert on deliveries for each row execute function told()
"""


async def test_a_replay_reaches_the_chosen_handler_once_and_no_other(rooms: Rooms) -> None:
    """The new event is marked, in the log and in the delivery, and its reason is kept."""
    await rooms.execute("insert into rooms values (1, 'blue', 10), (2, 'red', 20)")
    await rooms.bench.drain()
    result = await hearken(rooms.url, "replay", "1", "--handler", "price_room", "--reason", "lost", "--yes", "--json")
    assert result.code == 0, result
    assert result.json["handlers"] == {"price_room": 1}
    (event,) = result.json["events"]
    await rooms.bench.drain()
    assert await rooms.delivered("price_room") == [(1, None), (2, None), (event["id"], 1)]
    assert await rooms.delivered("note_room") == [(1, None), (2, None)]
    note = await rooms.value("select note from hearken.events where id = %s", event["id"])
    assert (note["replay"]["reason"], "@" in note["replay"]["by"]) == ("lost", True)


async def test_without_a_choice_every_handler_of_the_topic_gets_it(rooms: Rooms) -> None:
    """Several events are appended in the order of the log, whatever order they are named in."""
    await rooms.execute("insert into rooms values (1, 'blue', 10), (2, 'red', 20)")
    await rooms.bench.drain()
    result = await hearken(rooms.url, "replay", "2", "1", "2", "--yes")
    assert result.code == 0, result
    await rooms.bench.drain()
    for handler in ("note_room", "price_room"):
        assert [of for _, of in await rooms.delivered(handler)] == [None, None, 1, 2]


async def test_nothing_is_appended_when_something_is_wrong(rooms: Rooms) -> None:
    """An unknown event or handler, events nobody asked for, no terminal to confirm on: exit code 2."""
    await rooms.execute("insert into rooms values (1, 'blue', 10)")
    await rooms.execute("delete from rooms")
    for result, said in zip(
        await asyncio.gather(
            hearken(rooms.url, "replay", "1", "7", "--yes"),
            hearken(rooms.url, "replay", "1", "--handler", "no_one", "--yes"),
            hearken(rooms.url, "replay", "2", "--handler", "price_room", "--yes"),
            hearken(rooms.url, "replay", "1"),
        ),
        ("no such event: 7", "no such handler: no_one", "asks for none", "--yes"),
        strict=True,
    ):
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result
        assert said in result.err
    assert await rooms.value("select count(*) from hearken.events") == 2


async def test_a_replay_wakes_a_sleeping_worker(rooms: Rooms) -> None:
    """The doorbell rings as for any change: the worker, which polls nothing, delivers."""
    await rooms.execute("insert into rooms values (1, 'blue', 10)")
    await rooms.bench.drain()
    await rooms.execute("create table told (id int)")
    async with await psycopg.AsyncConnection.connect(rooms.url, autocommit=True) as connection:
        await connection.execute(TELL)
        await connection.execute("listen told")
        async with start_worker(rooms.url, [SAMPLE]) as running:
            await running.said("working")
            result = await hearken(rooms.url, "replay", "1", "--yes", "--json")
            heard = [n.payload async for n in connection.notifies(timeout=20, stop_after=2)]
    (event,) = result.json["events"]
    assert heard == [str(event["id"])] * 2
