"""Promise: what a batch asks of the database costs by what it gets, not by how long the log is or how much is parked.

Every query is run as the worker's sessions run it (prepared, and by the plan that the session keeps), on a log of
300,000 events and 100,000 parked ones: in a session that made its plans when all was empty, in a new one right after
the rows came, and after ANALYZE.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, NamedTuple

from psycopg import sql

from tests.support.plans import Cost, Parameters, measure, prepare
from tests.support.watched import declare
from worker.deliver import effects, parked, running, runs, stretch, suspicion, takeover
from worker.install.migrate import migrate
from worker.log import cursors, reader, rows
from worker.log.partitions import Partition
from worker.postgres.database import Connection, Database
from worker.settings import Settings

EVENTS, PARKED = 300_000, 100_000
# Twenty events to a transaction. The numbers are made up, as are the snapshots that they are compared with.
FIRST_TX, LAST_TX = 100_000, 115_000
FILL: tuple[LiteralString, ...] = (
    """insert into hearken.events (at, tx, topic, op, key, old, new)
    select now() - make_interval(days => 2 - i * 3 / 300001), (100000 + i / 20)::text::xid8,
           case when i % 1500 = 7 then 'public.quiet' when i % 5 = 0 then 'public.other' else 'public.busy' end,
           'update', (i % 5000)::text, '{"name": "x"}', json_build_object('id', i, 'description', repeat('word ', 20))
    from generate_series(0, 299999) i""",
    # 20,000 keys: the first event of each is due or dead, the others are held behind it; a hundredth is of `quiet`.
    """insert into hearken.parked (handler, event_id, topic, key, state, attempt, due_at, reason)
    select case when i % 100 = 0 then 'quiet' else 'busy' end, i, 'public.busy', (i % 20000)::text,
           case when i > 20000 then 'held' when i % 2 = 0 then 'due' else 'dead' end, 1, now() - interval '1 s', 'r'
    from generate_series(1, 100000) i""",
    """insert into hearken.parked (handler, event_id, topic, key, state, attempt, worker)
    select 'busy', 200000 + i, 'public.busy', 'of ' || i, 'running', 0, 1 + i % 2 from generate_series(0, 199) i""",
    """insert into hearken.effects (event_id, handler, topic, key, step, base, generation, state)
    select i, 'busy', 'public.busy', i::text, 'step', 'busy:' || i % 30000, i / 30000, 'done'
    from generate_series(1, 100000) i""",
    """insert into hearken.runs (event_id, topic, source, state, started_at, ended_at)
    select i, 'tick/' || i % 3, 'tick', 'succeeded', now(), now() from generate_series(1, 100000) i""",
    "update hearken.cursors set done = '115000:115000:'",
)
TABLES: LiteralString = """
select relname::text as name from pg_class where relkind = 'r' and relnamespace = 'hearken'::regnamespace
"""


class Case(NamedTuple):
    """A query with its parameters, and how many pages it may look at."""

    query: LiteralString
    parameters: Parameters
    pages: int
    pool: str = "batches"


def read(topics: list[str], done: str, **more: Any) -> dict[str, Any]:
    """The parameters of a reading query."""
    wishes = {
        "handler": "busy",
        "ops": ["insert", "update"],
        "watch": None,
        "excludes": False,
        "shards": 1,
        "shard": 0,
        "limit": 1000,
    }
    window = {"done": done, "target": None, "last_id": 0, "max_id": 0, "inline": reader.INLINE}
    return {**wishes, "topic": topics[0], "topics": topics, **window, **more}


def reading() -> Iterator[tuple[str, Case]]:
    """What reads the log: the newest, a window's ends, a batch of it, a look before sleeping."""
    busy, quiet = ["public.busy"], ["public.quiet"]
    end, late, early = (f"{x}:{x}:" for x in (LAST_TX, LAST_TX - 10, FIRST_TX + 10))
    long_open = f"{FIRST_TX + 1}:{LAST_TX}:{FIRST_TX + 1},{FIRST_TX + 3},{FIRST_TX + 7000}"
    yield "nothing new", Case(reader.RECENT, read(busy, end), 60)
    yield "nothing new for a quiet topic", Case(reader.RECENT, read(quiet, end), 60)
    yield "a little new", Case(reader.RECENT, read(busy, late), 100)
    yield "long-open transactions", Case(reader.RECENT, read(busy, long_open), 200)
    yield "a large backlog", Case(reader.RECENT, read(busy, early), 200)
    start = {"topic": busy[0], "done_id": 1, "floor_id": 1}
    yield "a window at the end", Case(reader.WINDOW, {**start, "done": late}, 20)
    yield "a window of long-open transactions", Case(reader.WINDOW, {**start, "done": long_open}, 40)
    yield "a window of a quiet topic", Case(reader.WINDOW, {**start, "topic": quiet[0], "done": early}, 20)
    middle: dict[str, Any] = {"target": end, "done": early, "last_id": EVENTS // 2, "max_id": EVENTS}
    yield "a batch in the middle", Case(reader.BATCH, read(busy, **middle), 200)
    yield "a shard's batch", Case(reader.BATCH, read(busy, **middle, shards=4, shard=2, limit=4000), 500)
    yield "a batch of a quiet topic", Case(reader.BATCH, read(quiet, **{**middle, "last_id": 0}), 400)
    day = datetime.now(UTC) - timedelta(days=1)  # the events in the middle are of it
    place = {"among": busy, "since": day - timedelta(hours=1), "until": day + timedelta(hours=1)}
    ids = list(range(EVENTS // 2, EVENTS // 2 + 100))
    yield "large rows", Case(rows.LOAD, {**read(busy, end), **place, "ids": ids, "judge": True}, 700)
    judged: dict[str, Any] = {
        **middle,
        "max_id": EVENTS // 2 + 2000,
        "active": "name",
        "kinds": ["delete", "update"],
        "most": 5000,
    }
    yield "a window judged", Case(stretch.COUNT, read(busy, **judged), 400)
    yield "a quiet topic's window judged", Case(stretch.COUNT, read(quiet, **{**judged, "last_id": 0}), 400)
    yield "what remains of a window", Case(stretch.REMAINING, read(busy, **judged), 1000)
    for handler in ("busy", "quiet", "other"):
        look = {"topic": f"public.{handler}", "handler": handler, "shard": 0, "worker": 1, "flying": [5, 6]}
        yield f"a look of {handler}", Case(reader.PEEK, look, 80)


def settling() -> Iterator[tuple[str, Case]]:
    """What writes: parked events of a handler that has 99,000, 1,000 or none of them, and effects."""
    keys: dict[str, Any] = {"topic": ["public.busy"] * 100, "key": [str(number * 200 + 1) for number in range(100)]}
    put = {
        "state": ["due"] * 100,
        "attempt": [1] * 100,
        "delay": [1.0] * 100,
        "reason": [""] * 100,
        "error": [""] * 100,
        "starts": [0] * 100,
        "worker": None,
    }
    new, old = (list(range(start, start + 100)) for start in (10**6, 1))
    for handler in ("busy", "quiet", "nobody"):
        who = {"handler": handler}
        due = {**who, "shards": 1, "shard": 0, "limit": 100, "inline": reader.INLINE}
        yield f"due of {handler}", Case(parked.DUE, due, 4000)
        yield f"due of a shard of {handler}", Case(parked.DUE, {**due, "shards": 4, "shard": 1}, 4000)
        yield f"keys of {handler}", Case(parked.KEYS, {**who, **keys}, 700)
        yield f"no key of {handler}", Case(parked.KEYS, {**who, "topic": ["public.busy"], "key": [None]}, 10)
        yield f"park for {handler}", Case(parked.PUT, {**who, **keys, **put, "event_id": new}, 2500)
        yield f"park again for {handler}", Case(parked.PUT, {**who, **keys, **put, "event_id": old}, 2500)
        yield f"unpark for {handler}", Case(parked.REMOVE, {**who, "event_id": old}, 1000)
        yield f"promote for {handler}", Case(parked.PROMOTE, {**who, **keys}, 1500)
        yield f"supersede for {handler}", Case(parked.SUPERSEDE, {**who, **keys, "event_id": new}, 2500)
    flying = {"handler": "busy", "worker": 1, "silent_after": suspicion.SILENT_AFTER, "most_starts": 3, "reason": "r"}
    flying |= {"flying": [5, 6], "shards": 1, "shard": 0}
    ours = {"key": [f"of {i}" for i in range(50)], "event_id": list(range(200_000, 200_050))}
    yield "flights that are ours", Case(running.OURS, {**flying, **ours}, 500)
    yield "flights of workers that are gone", Case(takeover.TAKE_OVER, flying, 4000, "work")
    move = {"handler": "busy", "shard": 0, "seq": 0, "done": "1:1:", "target": None, "last_id": 0, "max_id": 0}
    move |= dict.fromkeys(("done_id", "floor_id", "target_id", "newest", "judged_id", "deleted", "archived"), 0)
    move |= {"target_tx": "0", "since_tx": "0"}
    yield "move a cursor", Case(cursors.MOVE, move, 50)
    run = {"event_id": 7, "topic": "tick/1", "source": "tick", "attempt": 1}
    yield "begin a run", Case(runs.BEGIN, run, 50, "work")
    yield "tell a run's progress", Case(runs.PROGRESS, ("{}", 7), 50, "work")
    ended = {name: [value] for name, value in run.items()} | {"state": ["succeeded"], "started_at": [datetime.now(UTC)]}
    yield "settle a run", Case(runs.SETTLE, {**ended, "result": ["{}"], "error": [None]}, 50)
    yield "supersede runs", Case(runs.SUPERSEDE, ("tick/1", 100_001), 50)
    start = {"event_id": 1, "handler": "busy", "topic": "public.busy", "key": "1", "step": "s", "base": "busy:1"}
    yield "begin an effect", Case(effects.START, {**start, "era": "e", "worker": 1}, 50, "work")
    end = dict.fromkeys(("object_id", "request_id", "changed", "error"))
    yield "end an effect", Case(effects.END, {"id": 5, "state": "done", **end}, 50, "work")


CASES = {**dict(reading()), **dict(settling())}


async def make_log(connection: Connection) -> None:
    """Three days' partitions, and handlers on three tables; nothing in any of them, and no ANALYZE but the test's."""
    declared = declare("public.busy", "busy")
    declare("public.quiet", "quiet", declared)
    declare("public.other", "other", declared)
    for name in declared.handlers:
        await connection.execute(sql.SQL("create table {} (id int primary key)").format(sql.Identifier(name)))
    await migrate(connection, declared)
    for days in (1, 2):
        for statement in Partition((datetime.now(UTC) - timedelta(days=days)).date()).statements():
            await connection.execute(statement)
    for table in await (await connection.execute(TABLES)).fetchall():
        place = sql.Identifier("hearken", table["name"])
        await connection.execute(sql.SQL("alter table {} set (autovacuum_enabled = off)").format(place))


@asynccontextmanager
async def sessions(url: str) -> AsyncIterator[dict[str, Connection]]:
    """New sessions of a worker, one of each pool, that have made their plans."""
    database = Database(Settings.model_validate({"DATABASE_URL": url}))
    await database.open()
    try:
        async with database.batches.connection() as batches, database.work.connection() as work:
            pools = {"batches": batches, "work": work}
            for case in CASES.values():
                await prepare(pools[case.pool], case.query, case.parameters)
            yield pools
    finally:
        await database.close()


async def measure_all(pools: dict[str, Connection]) -> dict[str, Cost]:
    return {name: await measure(pools[case.pool], case.query, case.parameters) for name, case in CASES.items()}


async def measure_stages(url: str) -> dict[str, dict[str, Cost]]:
    """What each query costs at each stage."""
    costs = {}
    connection = await Database(Settings.model_validate({"DATABASE_URL": url})).connect()
    try:
        await make_log(connection)
        async with sessions(url) as early:
            for statement in FILL:
                await connection.execute(statement)
            costs["planned when empty"] = await measure_all(early)
        async with sessions(url) as later:
            costs["just filled"] = await measure_all(later)
        await connection.execute("analyze")
        async with sessions(url) as last:
            costs["analyzed"] = await measure_all(last)
    finally:
        await connection.close()
    return costs


# A query that finds nothing is cheap with any plan: these find what they should.
FOUND = {
    "nothing new": 0,
    "a little new": 160,
    "a large backlog": 1000,
    "a batch in the middle": 1000,
    "a shard's batch": 4000,
    "due of busy": 100,
    "keys of busy": 100,
}


async def test_a_query_costs_by_what_it_gets(database_url: str) -> None:
    """Few pages, and nothing large read from its beginning to its end, whenever the session made its plan."""
    costs = await measure_stages(database_url)
    dear = [
        f"{stage}: {name} (allowed: {CASES[name].pages} pages) took {cost}"
        for stage, of_stage in costs.items()
        for name, cost in of_stage.items()
        if cost.scanned or cost.pages > CASES[name].pages
    ]
    assert not dear, "\n".join(dear)
    for stage, of_stage in costs.items():
        assert {name: of_stage[name].rows for name in FOUND} == FOUND, stage
