"""Promise: an operator can let a handler wait, let it go on, and have one forgotten that is gone."""

from __future__ import annotations

import psycopg

from tests.support.cli import Rooms, hearken
from worker.postgres.locks import claim_lock

RENAME_CURSOR = "update hearken.cursors set handler = 'gone' where handler = 'price_room'"
RENAME_PARKED = "update hearken.parked set handler = 'gone' where handler = 'price_room'"


async def test_a_paused_handler_waits_and_goes_on(rooms: Rooms) -> None:
    """Its events stay in the log meanwhile; others are not held up."""
    assert (await hearken(rooms.url, "pause", "note_room", "--reason", "inventory")).code == 0
    await rooms.execute("insert into rooms values (1, 'blue', 10)")
    await rooms.bench.drain()
    assert await rooms.delivered("note_room") == []
    assert await rooms.delivered("price_room") == [(1, None)]
    assert await rooms.value("select reason from hearken.paused") == "inventory"
    resumed = await hearken(rooms.url, "resume", "note_room", "--json")
    assert (resumed.code, resumed.json["was_paused"]) == (0, True)
    await rooms.bench.drain()
    assert await rooms.delivered("note_room") == [(1, None)]
    assert (await hearken(rooms.url, "resume", "note_room")).code == 1


async def test_a_handler_nobody_knows_cannot_be_paused(rooms: Rooms) -> None:
    """A typing mistake must not look like a pause: exit code 2."""
    result = await hearken(rooms.url, "pause", "note_rom", "--reason", "inventory")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "known: note_room, price_room" in result.err
    assert await rooms.value("select count(*) from hearken.paused") == 0


async def test_a_handler_that_is_gone_is_forgotten_whole(rooms: Rooms) -> None:
    """Cursor, parked events and pause go; what it did outside stays in the ledger."""
    await rooms.execute("insert into rooms values (2, 'bad', 20)")
    await rooms.bench.drain()
    await rooms.execute(RENAME_CURSOR)
    await rooms.execute(RENAME_PARKED)
    unasked = await hearken(rooms.url, "forget", "gone")
    assert (unasked.code, "1 dead" in unasked.err) == (2, True)
    done = await hearken(rooms.url, "forget", "gone", "--yes", "--json")
    assert done.json == {"handler": "gone", "cursors": 1, "parked": 1, "dead": 1}
    assert await rooms.value("select array_agg(handler) from hearken.cursors") == ["note_room"]
    (action,) = await rooms.execute("select action, handler, details from hearken.actions")
    assert tuple(action.values()) == ("forget", "gone", {"cursors": 1, "parked": 1, "dead": 1})
    assert await rooms.value("select count(*) from hearken.parked") == 0
    assert (await hearken(rooms.url, "forget", "gone", "--yes")).code == 2


async def test_a_handler_in_use_is_not_forgotten(rooms: Rooms) -> None:
    """Neither one that is declared, nor one that a worker with older code is running."""
    declared = await hearken(rooms.url, "forget", "price_room", "--yes")
    assert (declared.code, "still declared" in declared.err) == (2, True)
    await rooms.execute(RENAME_CURSOR)
    async with await psycopg.AsyncConnection.connect(rooms.url, autocommit=True) as other:
        await other.execute("select pg_advisory_lock(%s)", (claim_lock("gone", 0),))
        busy = await hearken(rooms.url, "forget", "gone", "--yes")
    assert (busy.code, "stop the workers" in busy.err) == (1, True)
    assert await rooms.value("select count(*) from hearken.cursors where handler = 'gone'") == 1
