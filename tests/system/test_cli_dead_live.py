"""Promise: `hearken dead` works beside workers, and at a terminal it asks and can be left with Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.support.cli import SAMPLE, Rooms, hearken, start_at_terminal
from tests.support.things import until_fast_asleep
from tests.support.waiting import eventually, until_blocked
from tests.support.workers import start_worker
from worker.postgres.locks import claim_lock

MEND = """update hearken.events set new = '{"id": 1, "name": "good"}' where id = 1"""
TELL = b"""
create function told() returns trigger language plpgsql as
    'begin perform pg_notify(''told'', new.event_id::text); return new; end';
create trigger told after insert on deliveries for each row execute function told()
"""
HOLD = """
insert into hearken.parked (handler, event_id, topic, key, state, attempt)
values ('price_room', 2, 'public.rooms', '1', 'held', 0)
"""


@pytest.fixture
async def dead(rooms: Rooms) -> Rooms:
    """Event 1 is dead for price_room."""
    await rooms.execute("insert into rooms values (1, 'bad', 10)")
    await rooms.bench.drain()
    return rooms


async def test_a_retry_wakes_a_sleeping_worker(dead: Rooms) -> None:
    """Who sleeps knows nothing of a new due time: the doorbell tells, and the event is delivered at once."""
    await dead.execute(MEND)
    async with await psycopg.AsyncConnection.connect(dead.url, autocommit=True) as connection:
        await connection.execute(TELL)
        await connection.execute("listen told")
        async with start_worker(dead.url, [SAMPLE]) as running:
            await running.said("working")
            await until_fast_asleep(dead.url)
            assert (await hearken(dead.url, "dead", "retry", "1", "--yes")).code == 0
            heard = [n.payload async for n in connection.notifies(timeout=10, stop_after=1)]
    assert heard == ["1"]


async def test_a_skip_wakes_a_sleeping_worker_for_what_was_held(dead: Rooms) -> None:
    """The next of the key is delivered at once."""
    await dead.execute("update rooms set name = 'good', price = 11")
    await dead.bench.drain()
    async with await psycopg.AsyncConnection.connect(dead.url, autocommit=True) as connection:
        await connection.execute(TELL)
        await connection.execute("listen told")
        async with start_worker(dead.url, [SAMPLE]) as running:
            await running.said("working")
            await until_fast_asleep(dead.url)
            assert (await hearken(dead.url, "dead", "skip", "1", "--reason", "x", "--yes")).code == 0
            heard = [n.payload async for n in connection.notifies(timeout=10, stop_after=1)]
    assert heard == ["2"]


async def test_a_skip_waits_for_a_batch_that_is_about_to_hold_another(dead: Rooms) -> None:
    """What the batch holds behind the dead event comes next, and does not wait for ever."""
    async with await psycopg.AsyncConnection.connect(dead.url) as batch:
        await batch.execute("select pg_advisory_xact_lock(%s)", (claim_lock("price_room", 0),))
        await batch.execute(HOLD)
        skipping = asyncio.create_task(hearken(dead.url, "dead", "skip", "1", "--reason", "x", "--yes"))
        await until_blocked(dead.bench.connection)
        await batch.commit()
    assert (await skipping).code == 0
    assert await dead.execute("select event_id, state from hearken.parked") == [{"event_id": 2, "state": "due"}]


async def _sleeps(pid: int) -> bool:
    stat = await asyncio.to_thread(Path(f"/proc/{pid}/stat").read_text)
    return stat.rpartition(")")[2].split()[0] == "S"


async def until_waiting(pid: int) -> None:
    """Wait until the process sleeps. Python hears no signal in the instant before it reads from a terminal."""
    await eventually(lambda: _sleeps(pid), "process that sleeps")


async def test_ctrl_c_at_the_question_leaves_everything(dead: Rooms) -> None:
    """The first one is heard, at once: exit code 130."""
    async with start_at_terminal(dead.url, "dead", "retry", "--all") as (process, _):
        assert process.stderr is not None
        question = await process.stderr.readuntil(b"?")
        assert question == b"Retry 1 dead event (1 of price_room)?"
        await until_waiting(process.pid)
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            assert await process.wait() == 130
    assert await dead.value("select state from hearken.parked") == "dead"
    assert await dead.value("select count(*) from hearken.actions") == 0


@pytest.mark.parametrize(("answer", "code", "state"), [(b"y\n", 0, "due"), (b"n\n", 1, "dead")])
async def test_the_answer_counts(dead: Rooms, answer: bytes, code: int, state: str) -> None:
    """Only a yes retries; a no is a negative answer."""
    async with start_at_terminal(dead.url, "dead", "retry", "1") as (process, keyboard):
        assert process.stderr is not None
        await process.stderr.readuntil(b"?")
        os.write(keyboard, answer)
        async with asyncio.timeout(10):
            assert await process.wait() == code
    assert await dead.value("select state from hearken.parked") == state


async def test_who_answers_late_finds_it_done(dead: Rooms) -> None:
    """Two operators at the question at once: the second is told, with exit code 1."""
    async with start_at_terminal(dead.url, "dead", "skip", "1", "--reason", "x") as (process, keyboard):
        assert process.stderr is not None
        await process.stderr.readuntil(b"?")
        assert (await hearken(dead.url, "dead", "retry", "1", "--yes")).code == 0
        os.write(keyboard, b"y\n")
        _, said = await process.communicate()
        assert (process.returncode, b"1 dead event no longer dead" in said) == (1, True)
    assert await dead.value("select state from hearken.parked") == "due"
