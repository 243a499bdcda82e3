"""Promise: `hearken events` shows the log as it is, and with --follow every event once, as it is committed."""

from __future__ import annotations

import asyncio
import json
import signal
from asyncio.subprocess import Process

import psycopg

from tests.support.cli import Rooms, hearken, start


async def ids(rooms: Rooms, *arguments: str) -> list[int]:
    result = await hearken(rooms.url, "events", "--json", *arguments)
    assert result.code == 0, result
    return [event["id"] for event in result.json_lines]


async def test_events_are_found_by_what_they_are_about(rooms: Rooms) -> None:
    """By topic, key, operation and time; the newest last, and no more than the limit."""
    await rooms.execute("insert into rooms values (1, 'blue', 10), (2, 'red', 20)")
    await rooms.execute("update rooms set price = 30 where id = 1")
    await rooms.execute("update hearken.events set at = at - interval '3 hours' where id = 1")
    found = await asyncio.gather(
        ids(rooms),
        ids(rooms, "--topic", "public.rooms", "--key", "1"),
        ids(rooms, "--op", "update"),
        ids(rooms, "--since", "2h"),
        ids(rooms, "--until", "2h"),
        ids(rooms, "--limit", "2"),
    )
    assert list(found) == [[1, 2, 3], [1, 3], [3], [2, 3], [1], [2, 3]]


async def test_row_values_are_shown_only_when_asked_for(rooms: Rooms) -> None:
    """They may be private; numbers come as they were written."""
    await rooms.execute("insert into rooms values (1, 'secret', 1.10)")
    await rooms.execute("update rooms set price = 1.00")
    plain, machine, rows, machine_rows = await asyncio.gather(
        hearken(rooms.url, "events"),
        hearken(rooms.url, "events", "--json"),
        hearken(rooms.url, "events", "--rows"),
        hearken(rooms.url, "events", "--rows", "--json"),
    )
    assert "secret" not in plain.out + machine.out
    assert '"price":1.10' in rows.out
    assert machine_rows.json_lines[1]["new"] == {"id": 1, "name": "secret", "price": 1.0}
    assert '"price":1.00' in machine_rows.out


async def test_an_unknown_topic_is_refused(rooms: Rooms) -> None:
    """A typing mistake is not an empty answer: exit code 2, with the topics there are."""
    result = await hearken(rooms.url, "events", "--topic", "public.room")
    assert (result.code, result.out) == (2, "")
    assert "known: public.rooms" in result.err


async def test_follow_prints_each_event_once_when_it_is_committed(rooms: Rooms) -> None:
    """Also one of a transaction that was open all the while, whose id is below others; Ctrl-C ends it quietly."""
    await rooms.execute("insert into rooms values (1, 'before', 1)")
    async with start(rooms.url, "events", "--follow", "--json", "--limit", "1") as following:
        assert await next_key(following) == "1"
        async with await psycopg.AsyncConnection.connect(rooms.url) as slow:
            await slow.execute("insert into rooms values (2, 'slow', 2)")
            await rooms.execute("insert into rooms values (3, 'quick', 3)")
            assert await next_key(following) == "3"
            await slow.commit()
        assert await next_key(following) == "2"
        await rooms.execute("insert into rooms values (4, 'last', 4)")
        assert await next_key(following) == "4"
        following.send_signal(signal.SIGINT)
        out, err = await following.communicate()
    assert (following.returncode, out, err.strip()) == (130, b"", b"")


async def next_key(following: Process) -> str:
    """The key of the next event that is printed."""
    assert following.stdout is not None
    async with asyncio.timeout(20):
        return str(json.loads(await following.stdout.readline())["key"])
