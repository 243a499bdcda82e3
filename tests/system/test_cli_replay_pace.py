"""Promise: a replay never runs ahead of the handlers, so a change that is committed meanwhile waits behind little."""

from __future__ import annotations

import asyncio

from tests.support.cli import SAMPLE, Rooms, start
from tests.support.waiting import eventually
from tests.support.workers import start_worker
from worker.operate.throttle import MOST

EVENTS = 2000
COMMAND = ("replay", "--topic", "public.rooms", "--rate", "100000", "--yes")
APPENDED = "select count(*) from hearken.events where replay_of is not null"
# Replayed events that stood before a live change in the log and had not been delivered when it was committed.
AHEAD = """
select count(*) from hearken.events e join hearken.events live on live.key = '7777' and e.id < live.id
where e.replay_of is not null and e.id not in (select event_id from seen)
"""


async def test_it_waits_for_the_handlers(rooms: Rooms) -> None:
    """While they are held up nothing more is appended, it says for whom it waits, and goes on when they do."""
    await rooms.execute("insert into rooms select i, 'blue', 10 from generate_series(1, %s) i", EVENTS)
    await rooms.bench.drain()
    async with start_worker(rooms.url, [SAMPLE]) as worker:
        await worker.said("working")
        async with rooms.bench.connection.transaction():
            await rooms.execute("lock table deliveries in exclusive mode")
            async with start(rooms.url, *COMMAND) as process:
                assert process.stderr is not None
                async with asyncio.timeout(30):
                    while b"waiting for" not in (line := await process.stderr.readline()):
                        assert line, "it ended without waiting"
                assert b"note_room" in line
                assert 0 < await rooms.value(APPENDED) <= MOST
                await rooms.execute("rollback; begin")  # lets the handlers go on
                await process.wait()
                assert process.returncode == 0
        assert await rooms.value(APPENDED) == EVENTS


async def test_a_live_change_waits_behind_one_chunk_at_most(rooms: Rooms) -> None:
    """Committed in the middle of a replay as fast as it goes, it finds few events before it in the log."""
    await rooms.execute("insert into rooms select i, 'blue', 10 from generate_series(1, %s) i", EVENTS)
    await rooms.bench.drain()
    await rooms.execute("create table seen (event_id bigint)")
    async with start_worker(rooms.url, [SAMPLE]) as worker:
        await worker.said("working")
        async with start(rooms.url, *COMMAND) as process:
            await eventually(lambda: rooms.value(APPENDED), "replay", fits=lambda found: found >= EVENTS // 10)
            async with rooms.bench.connection.transaction():
                await rooms.execute("insert into rooms values (7777, 'live', 1)")
                await rooms.execute("insert into seen select event_id from deliveries where handler = 'note_room'")
            assert await process.wait() == 0
    assert await rooms.value(AHEAD) <= MOST
    assert await rooms.value(APPENDED) == EVENTS
