"""Promise: what is asked about one key reads a small part of a long log, and finds what reading all of it would."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, LiteralString

import pytest
from psycopg.rows import scalar_row

from tests.db.test_plans import make_log
from tests.support.plans import measure, prepare
from worker.log.lookups import FIND, find_by_key, summarize
from worker.operate.events import NEWEST, Filter, find_events
from worker.operate.explain import EFFECTS, EVENTS, PARKED
from worker.postgres.database import Connection, Database
from worker.settings import Settings

# A third each of three days. Keys that have a few events, scattered; one that has many; a quiet topic.
FILL: tuple[LiteralString, ...] = (
    """insert into hearken.events (at, topic, op, key, new)
    select now() - make_interval(days => 2 - i * 3 / 300001),
           case when i % 1500 = 7 then 'public.quiet' else 'public.busy' end,
           case when i % 3 = 0 then 'delete' else 'update' end,
           case when i % 10 = 3 then 'often' when i % 1500 = 7 then '7' else (hashint4(i) & 16383)::text end,
           json_build_object('id', i, 'description', repeat('word ', 20))
    from generate_series(0, 299999) i""",
    """insert into hearken.parked (handler, event_id, topic, key, state, attempt, reason)
    select 'busy', i, 'public.busy', (i % 20000)::text, 'dead', 1, 'r' from generate_series(1, 100000) i""",
    """insert into hearken.effects (event_id, handler, topic, key, step, base, generation, state)
    select i, 'busy', 'public.busy', (i % 20000)::text, 'step', 'busy:' || i % 30000, i / 30000, 'done'
    from generate_series(1, 100000) i""",
)
PAGES: LiteralString = """
select (sum(pg_relation_size(inhrelid)) / 8192)::int from pg_inherits where inhparent = 'hearken.events'::regclass
"""
WHOLE: LiteralString = """
select id from hearken.events
where topic = any(%(topics)s) and key = %(key)s and (%(op)s::text is null or op = %(op)s)
  and (%(since)s::timestamptz is null or at >= %(since)s) and (%(until)s::timestamptz is null or at < %(until)s)
order by id desc limit %(limit)s
"""
NO_LIMITS = {"op": None, "since": None, "until": None}


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A log of 300,000 events, summarized; never analyzed."""
    opened = await Database(Settings.model_validate({"DATABASE_URL": database_url})).connect()
    await make_log(opened)
    for statement in FILL:
        await opened.execute(statement)
    yield opened
    await opened.close()


async def values(connection: Connection, query: LiteralString, about: dict[str, Any] | None = None) -> list[Any]:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return await (await cursor.execute(query, about)).fetchall()


async def test_a_key_is_found_without_reading_the_log(connection: Connection) -> None:
    """Be it rare, frequent, unknown, or of a quiet topic; and what else is known of it costs by what there is."""
    await summarize(connection)
    (oldest,) = await values(
        connection, "select to_char(now() - interval '2 days', '\"hearken.events_\"YYYYMMDD\"_key\"')"
    )
    await connection.execute("select brin_summarize_new_values(%s::regclass)", (oldest,))
    (whole,) = await values(connection, PAGES)
    cases = {"rare": ("busy", "4711"), "frequent": ("busy", "often"), "unknown": ("busy", "x"), "quiet": ("quiet", "7")}
    for name, (topic, key) in cases.items():
        about = {"topics": [f"public.{topic}"], "key": key, "limit": 101, **NO_LIMITS}
        await prepare(connection, FIND, about)
        cost = await measure(connection, FIND, about)
        # The newest 100,000 of a topic are walked through whatever the key, and are 0.4 of this log.
        assert cost.pages <= whole * 0.6, f"{name}: {cost} of {whole}"


async def test_what_else_is_known_of_a_key_is_found_by_an_index(connection: Connection) -> None:
    """Its events by their ids, its effects, and what is parked of it."""
    about = {"topic": "public.busy", "key": "4711", "since": None, "limit": 101}
    await connection.execute("analyze hearken.effects, hearken.parked")
    ids = await find_by_key(connection, ["public.busy"], "4711", limit=101)
    newest = {"topics": ["public.busy"], "ids": ids, "key": "4711", "rows": True, "limit": 101, **NO_LIMITS}
    for query, parameters, pages in (
        (EVENTS, {**about, "ids": ids}, 40 * len(ids)),
        (NEWEST, newest, 40 * len(ids)),
        (EFFECTS, about, 50),
        (PARKED, about, 50),
    ):
        await prepare(connection, query, parameters)
        cost = await measure(connection, query, parameters)
        assert cost.rows > 0, cost
        assert cost.pages <= pages, cost
        assert not cost.scanned, cost


async def test_finds_what_reading_everything_finds(connection: Connection) -> None:
    """For any key, operation, time and limit; whether what was appended is summarized, or not, or has no index."""
    chance = random.Random(7)
    times: list[datetime | None] = [
        None,
        *await values(connection, "select at from hearken.events where id % 40000 = 5"),
    ]
    for change in (None, summarize, _drop_an_index):
        if change is not None:
            await change(connection)
        for _ in range(12):
            about: dict[str, Any] = {
                "topics": chance.choice([["public.busy"], ["public.quiet"], ["public.busy", "public.quiet"]]),
                "key": chance.choice(["often", "7", "4711", "12", "x"]),
                "op": chance.choice([None, None, "delete"]),
                "since": chance.choice(times),
                "until": chance.choice(times),
                "limit": chance.choice([1, 3, 50, 40_000]),
            }
            found = await find_by_key(connection, **about)
            assert found == await values(connection, WHOLE, about), about


async def test_a_filter_by_key_and_id_holds_for_both(connection: Connection) -> None:
    """Events that are named by their ids are not looked for by their key."""
    events = await find_events(connection, Filter(["public.quiet"], ids=[8, 1508, 9], key="7"), limit=10)
    assert [event.id for event in events] == [8, 1508]


async def _drop_an_index(connection: Connection) -> None:
    (name,) = await values(connection, 'select to_char(now(), \'"hearken.events_"YYYYMMDD"_key"\')')
    await connection.execute(b"drop index " + name.encode())
