"""Promise: beside any writers, a backfill leaves each key's newest event as its newest state, and holds nobody up."""

from __future__ import annotations

import asyncio
import random

import psycopg

from tests.support.filling import filler, untold
from tests.support.waiting import some_moment
from tests.support.watched import connect, declare, watching

TABLE = "create table things (id int primary key, version int not null)"
ROWS = 60
# For each key that has a row or an event: its newest event's row, and the row.
NEWEST = """
select key, e.op, e.new->>'version' as told, t.version::text as version
from (select distinct on (key) key, op, new from hearken.events where topic = 'public.things'
      order by key, id desc) e
full join things t on t.id::text = e.key
"""


async def write(url: str, seed: int, until: asyncio.Event) -> int:
    """Change, delete and insert rows in transactions of one to four, some rolled back, until told; returns how many."""
    chance, done = random.Random(seed), 0
    async with connect(url) as connection:
        await connection.execute("set deadlock_timeout = '20ms'")
        while not until.is_set():
            try:
                async with connection.transaction(force_rollback=chance.random() < 0.2):
                    for _ in range(chance.randint(1, 4)):
                        await _write_one(connection, chance)
                        await some_moment(chance, 0.01)
                done += 1
            except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                continue
    return done


async def _write_one(connection: psycopg.AsyncConnection[dict[str, object]], chance: random.Random) -> None:
    key = chance.randint(1, ROWS)
    statements = ["update things set version = version + 1 where id = %s"] * 4
    statements += ["delete from things where id = %s", "insert into things values (%s, 0) on conflict do nothing"]
    statements += ["update things set id = id + 1000 where id = %s"]
    await connection.execute(chance.choice(statements).encode(), (key,))


async def test_the_newest_event_of_every_key_is_its_newest_state(database_url: str) -> None:
    """Six writers, some slow, some rolled back, and one backfill after another in between."""
    async with watching(database_url, TABLE, "public.things") as watched:
        await watched.execute(f"insert into things select i, 0 from generate_series(1, {ROWS}) i")
        enough = asyncio.Event()
        writers = [asyncio.create_task(write(database_url, seed, enough)) for seed in range(6)]
        for _ in range(25):
            async with filler(database_url, declare("public.things"), "public.things") as filling:
                await filling.run(chunk=7, rate=None, tell=untold)
        enough.set()
        assert sum(await asyncio.gather(*writers)) > 200
        newest = await watched.rows(NEWEST)
        wrong = [row for row in newest if row["told"] != row["version"]]
        assert wrong == []
        (counted,) = await watched.rows("select count(*) as n from hearken.events where op = 'snapshot'")
        assert counted["n"] > 500


async def test_a_row_that_a_writer_holds_is_done_last(database_url: str) -> None:
    """An open transaction stops neither the other rows nor the other writers; its row gets its event when it ends."""
    async with watching(database_url, TABLE, "public.things") as watched, connect(database_url) as other:
        await watched.execute("insert into things select i, 0 from generate_series(1, 20) i")
        passed = asyncio.Event()

        def tell(done: int, aside: int) -> None:
            if (done, aside) == (20, 1):
                passed.set()

        async with filler(database_url, declare("public.things"), "public.things") as filling:
            async with other.transaction():
                await other.execute("update things set version = 7 where id = 5")
                running = asyncio.create_task(filling.run(chunk=4, rate=None, tell=tell))
                await asyncio.wait_for(passed.wait(), 10)
                await watched.execute("update things set version = 1 where id = 6")
            await asyncio.wait_for(running, 10)
        events = await watched.rows(
            "select key, new->>'version' as v from hearken.events where op = 'snapshot' order by id"
        )
        assert (len(events), events[-1]) == (20, {"key": "5", "v": "7"})


async def test_a_row_deleted_meanwhile_gets_no_event(database_url: str) -> None:
    """Its last event is that it was deleted."""
    async with watching(database_url, TABLE, "public.things") as watched, connect(database_url) as other:
        await watched.execute("insert into things select i, 0 from generate_series(1, 3) i")
        passed = asyncio.Event()
        async with filler(database_url, declare("public.things"), "public.things") as filling:
            async with other.transaction():
                await other.execute("delete from things where id = 2")
                running = asyncio.create_task(filling.run(chunk=9, rate=None, tell=lambda *_: passed.set()))
                await asyncio.wait_for(passed.wait(), 10)
            await asyncio.wait_for(running, 10)
            assert (filling.backfill.passed, filling.backfill.appended) == (3, 2)
        assert [row["key"] for row in await watched.rows("select key from hearken.events where op = 'snapshot'")] == [
            "1",
            "3",
        ]
