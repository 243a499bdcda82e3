"""Promise: the commands know schedules and their ticks as they know tables and changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support import sample_schedules
from tests.support.cli import Result, Rooms, hearken
from tests.support.clock import stop_clock, utc
from tests.support.sample_handlers import TABLES, note_room, price_room
from tests.support.sample_schedules import sweep_rooms
from tests.support.things import connect
from worker.testing import bench

MODULE = sample_schedules.__name__
BEGIN = utc("2026-03-01 10:00:30")
NEXT = "2026-03-02T01:00:00+00:00"  # two in the morning in Berlin


@pytest.fixture
async def nightly(database_url: str) -> AsyncIterator[Rooms]:
    """A database in which the sample schedule is enrolled, at BEGIN, beside handlers of a table."""
    await stop_clock(database_url, BEGIN)
    async with await connect(database_url) as connection:
        await connection.execute(TABLES)
    async with bench(database_url, note_room, price_room, sweep_rooms) as opened:
        yield Rooms(database_url, opened)


async def run(stage: Rooms, *arguments: str) -> Result:
    return await hearken(stage.url, *arguments, HEARKEN_HANDLERS=MODULE)


async def status_of_sweep(stage: Rooms) -> dict[str, Any]:
    (status,) = (one for one in (await run(stage, "status", "--json")).json if one["handler"] == "sweep_rooms")
    return dict(status)


async def test_status_tells_the_next_tick(nightly: Rooms) -> None:
    """For scripts when it is due and for how long one is owed, for people in a word."""
    status = await status_of_sweep(nightly)
    assert (status["handler"], status["topics"], status["behind"]) == ("sweep_rooms", ["tick/rooms.nightly"], 0)
    assert (status["next_due"], status["late"]) == (NEXT, 0.0)
    assert "nobody, next tick 2026-03-02 01:00 UTC" in (await run(nightly, "status")).out
    await stop_clock(nightly.url, utc("2026-03-02 01:02"))
    status = await status_of_sweep(nightly)
    assert (status["next_due"], status["late"]) == (NEXT, 120.0)
    assert "nobody, tick of 2026-03-02 01:00 UTC is late by 2m" in (await run(nightly, "status")).out


async def test_a_handler_of_a_table_has_no_next_tick(rooms: Rooms) -> None:
    """Nothing is made up for it."""
    statuses = (await hearken(rooms.url, "status", "--json")).json
    assert {(status["next_due"], status["late"]) for status in statuses} == {(None, 0.0)}


async def test_ticks_are_listed_by_their_topic(nightly: Rooms) -> None:
    """Also before there is one: the schedule is declared."""
    empty = await run(nightly, "events", "--topic", "tick/rooms.nightly")
    assert (empty.code, empty.out) == (0, "")
    await nightly.bench.tick("rooms.nightly", utc("2026-03-02 01:00"))
    (event,) = (
        await run(nightly, "events", "--topic", "tick/rooms.nightly", "--op", "tick", "--rows", "--json")
    ).json_lines
    assert (event["topic"], event["op"], event["key"]) == ("tick/rooms.nightly", "tick", "rooms.nightly")
    assert event["new"] == {"due": NEXT}
    unknown = await run(nightly, "events", "--topic", "tick/daily")
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "no such topic: tick/daily; known: public.rooms, tick/rooms.nightly" in unknown.err


async def test_a_tick_is_replayed(nightly: Rooms) -> None:
    """It is delivered again, marked."""
    await nightly.bench.tick("rooms.nightly", utc("2026-03-02 01:00"))
    await nightly.bench.drain()
    result = await run(nightly, "replay", "1", "--reason", "it was lost", "--yes", "--json")
    assert (result.code, result.json["handlers"]) == (0, {"sweep_rooms": 1})
    await nightly.bench.drain()
    assert await nightly.delivered("sweep_rooms") == [(1, None), (result.json["events"][0]["id"], 1)]


async def test_a_paused_schedule_says_so(nightly: Rooms) -> None:
    """By the name of its handler."""
    assert (await run(nightly, "pause", "sweep_rooms", "--reason", "closed")).code == 0
    assert "paused: closed" in (await run(nightly, "status")).out
    assert (await run(nightly, "resume", "sweep_rooms")).code == 0
    wrong = await run(nightly, "pause", "rooms.nightly", "--reason", "closed")
    assert (wrong.code, wrong.err) == (
        2,
        "hearken: no such handler: rooms.nightly; known: note_room, price_room, sweep_rooms\n",
    )


async def test_migrate_tells_what_differs_and_mends_it(nightly: Rooms) -> None:
    """As for tables: --check exits with 1, and changes nothing."""
    assert (await run(nightly, "migrate")).code == 0
    await nightly.execute("update hearken.schedules set cron = '0 4 * * *'")
    for _ in range(2):
        check = await run(nightly, "migrate", "--check")
        said = "handler sweep_rooms: ticks as rooms.nightly at '0 2 * * *' Europe/Berlin, catch_up one"
        assert (check.code, check.out) == (1, f"{said}\n")
    assert f"-- {said}" in (await run(nightly, "migrate", "--sql")).out
    done = (await run(nightly, "migrate", "--json")).json
    assert [(one["handler"], one["action"]) for one in done["handlers"]] == [("sweep_rooms", "schedule")]
    assert (await run(nightly, "migrate", "--check")).code == 0


async def test_forgetting_a_handler_removes_its_schedule(nightly: Rooms) -> None:
    """Once the code no longer has it."""
    declared = await run(nightly, "forget", "sweep_rooms", "--yes")
    assert (declared.code, "still declared" in declared.err) == (2, True)
    assert (await hearken(nightly.url, "forget", "sweep_rooms", "--yes")).code == 0
    assert await nightly.value("select count(*) from hearken.schedules") == 0
