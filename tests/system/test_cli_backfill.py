"""Promise: `hearken backfill` gives handlers every existing row, beside a running worker, whatever stops it."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import Process

import pytest

from tests.support.cli import SAMPLE, Rooms, hearken, program, start
from tests.support.filling import telling
from tests.support.workers import start_worker

SNAPSHOTS = "select key from hearken.events where op = 'snapshot' order by id"
FILL = "insert into rooms select i, 'room', i from generate_series(1, 40) i"
GENTLY = ("backfill", "rooms", "--yes", "--rate", "10", "--chunk", "5")


async def keys(rooms: Rooms) -> list[int]:
    """The rows that got an event."""
    return [int(row["key"]) for row in await rooms.execute(SNAPSHOTS)]


async def stopped(rooms: Rooms, number: signal.Signals) -> tuple[int | None, str]:
    """A backfill of forty rows, stopped after its first chunk; its exit code, and what it said."""
    async with telling(rooms.url, "hearken.backfills") as told, start(rooms.url, *GENTLY) as process:
        await told()  # begun
        await told()  # a chunk
        process.send_signal(number)
        _, err = await process.communicate()
    return process.returncode, err.decode()


async def test_a_running_worker_is_given_every_row(rooms: Rooms) -> None:
    """Only the handler that was named; the rows were there before the worker, and it polls nothing."""
    await rooms.execute(FILL)
    await rooms.bench.drain()
    await rooms.execute("truncate deliveries")
    async with telling(rooms.url, "deliveries") as told, start_worker(rooms.url, [SAMPLE]) as running:
        await running.said("working")
        result = await hearken(
            rooms.url, "backfill", "public.rooms", "--where", "r.id > 30", "--handler", "note_room", "--yes", "--json"
        )
        assert (result.code, result.err) == (0, ""), result
        while len(await rooms.delivered("note_room")) < 10:
            await told()
    expected = {"topic": "public.rooms", "rows": 10, "events": 10, "handlers": ["note_room"]}
    assert result.json == {"backfill": result.json["backfill"], **expected}
    assert await keys(rooms) == list(range(31, 41))
    assert await rooms.delivered("price_room") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_the_same_command_goes_on(rooms: Rooms, number: signal.Signals) -> None:
    """Ctrl-C says how far it came, kill -9 says nothing; in the end each row has one event, and it is over."""
    await rooms.execute(FILL)
    code, said = await stopped(rooms, number)
    if number == signal.SIGINT:
        assert code == 130
        assert "run the same command to resume" in said
        assert said.count("\n") <= 2
    done = await keys(rooms)
    assert 0 < len(done) < 40
    result = await hearken(rooms.url, "backfill", "rooms", "--yes", "--json")
    assert (result.code, result.json["events"]) == (0, 40), result
    assert await keys(rooms) == list(range(1, 41))
    assert await rooms.value("select count(*) from hearken.backfills where ended_at is null") == 0


async def test_two_operators_at_once(rooms: Rooms) -> None:
    """The second of the same is told, exit code 1; one of other rows is not in its way."""
    await rooms.execute(FILL)
    async with telling(rooms.url, "hearken.backfills") as told, start(rooms.url, *GENTLY) as first:
        await told()
        second = await hearken(rooms.url, "backfill", "rooms", "--yes")
        other = await hearken(rooms.url, "backfill", "rooms", "--where", "id < 3", "--yes")
        assert await _ends(first) == 0
    assert (second.code, second.out, second.err.count("\n")) == (1, "", 1)
    assert "another process" in second.err
    assert other.code == 0, other
    assert sorted(await keys(rooms)) == sorted([*range(1, 41), 1, 2])


async def _ends(process: Process) -> int | None:
    async with asyncio.timeout(30):
        await process.communicate()
    return process.returncode


async def test_one_begun_anew(rooms: Rooms) -> None:
    """--restart lets the unfinished one be."""
    await rooms.execute(FILL)
    await stopped(rooms, signal.SIGKILL)
    before = len(await keys(rooms))
    result = await hearken(rooms.url, "backfill", "rooms", "--yes", "--restart", "--json")
    assert (result.code, result.json["events"]) == (0, 40), result
    assert len(await keys(rooms)) == before + 40


async def test_wrong_usage_is_one_line(rooms: Rooms) -> None:
    """An unknown table or handler, no condition, nobody to ask: exit code 2, and nothing is appended."""
    await rooms.execute("insert into rooms values (1, 'blue', 10)")
    for arguments, said in (
        (("nothing", "--yes"), "no handler watches public.nothing; watched tables: public.rooms"),
        (("rooms", "--handler", "no_one", "--yes"), "no such handler: no_one"),
        (("rooms", "--where", "id = 1; delete from rooms", "--yes"), "--where"),
        (("rooms", "--where", "(id = 1", "--yes"), "--where"),
        (("rooms",), "--yes"),
        (("rooms", "--rate", "0", "--yes"), "--rate"),
    ):
        result = await hearken(rooms.url, "backfill", *arguments)
        assert (result.code, result.out) == (2, ""), result
        assert said in result.err
    assert await rooms.value("select count(*) from hearken.events") == 1
    assert await rooms.value("select count(*) from rooms") == 1


async def test_a_database_that_is_not_migrated_is_said(empty_database_url: str) -> None:
    """Exit code 1, with the command that mends it."""
    result = await program(empty_database_url, "backfill", "rooms", "--yes")
    assert (result.code, "hearken migrate" in result.err) == (1, True), result
