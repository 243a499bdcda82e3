"""How fast a backlog is delivered, against a bare psycopg loop over the same rows.

The bare loop reads the log by 1,000 rows with `id >` and moves a cursor row per batch, in the same driver, and does
nothing else; it is what the engine is compared with, in the same run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psycopg
from psycopg.rows import tuple_row

from bench.figure import Figure, at_least
from bench.stage import server, spaces
from worker import Change, Context
from worker.declare.registry import Registry
from worker.testing import Bench, bench

registry = Registry()


@registry.on("public.spaces", watch=("name", "capacity"))
async def nothing(change: Change, ctx: Context) -> None:
    """An external handler that does nothing."""


@registry.on("public.spaces", watch=("name", "capacity"), transactional=True)
async def mirror(changes: Sequence[Change], ctx: Context) -> None:
    """A transactional handler that updates a row per event, with set-based SQL."""
    await ctx.transaction.execute(
        """
        update mirror m set seen = m.seen + n.times, last_event = n.last
        from (select key, count(*) as times, max(id) as last
              from unnest(%s::bigint[], %s::bigint[]) as e (key, id) group by key) n
        where m.space_id = n.key
        """,
        ([int(c.key or 0) for c in changes], [c.id for c in changes]),
    )


async def bare_loop(url: str, size: int = 1000) -> int:
    """Read every event of the topic in batches, moving a cursor row; returns how many."""
    count, last = 0, 0
    async with await psycopg.AsyncConnection.connect(url) as connection:
        while True:
            async with connection.cursor(row_factory=tuple_row) as cursor:
                await cursor.execute(
                    "select id, tx, at, topic, op, key, old, new, origin, note, replay_of from hearken.events"
                    " where topic = 'public.spaces' and id > %s order by id limit %s",
                    (last, size),
                )
                rows = await cursor.fetchall()
                if not rows:
                    return count
                last = rows[-1][0]
                await cursor.execute("update bare_cursor set last_id = %s", (last,))
            await connection.commit()
            count += len(rows)


async def _timed(events: int, run: object) -> float:
    started = time.perf_counter()
    await run()  # type: ignore[operator]
    return events / (time.perf_counter() - started)


async def measure(url: str, events: int) -> dict[str, float]:
    """Capture `events` changes and drain them; rates in events per second."""
    with spaces(url, 10_000) as connection:
        connection.execute("drop table if exists mirror, bare_cursor")
        connection.execute("create table bare_cursor (last_id bigint)")
        connection.execute("insert into bare_cursor values (0)")
        connection.execute("create table mirror (space_id bigint primary key, seen bigint, last_event bigint)")
        connection.execute("insert into mirror select id, 0, 0 from spaces")
        rates: dict[str, float] = {}
        async with bench(url, nothing, mirror, declared=registry) as stage:
            for i in range(events // 10_000):
                connection.execute("update spaces set capacity = capacity + 1, name = 'Space ' || %s", (i,))
            connection.execute("vacuum analyze")
            rates["bare"] = await _timed(events, lambda: bare_loop(url))
            for consumer in stage.consumers:
                rates[consumer.handler.name] = await _timed(events, lambda: _drain(stage, consumer))
            done = connection.execute("select sum(seen) from mirror").fetchone()
            assert done == (events,), f"the mirror has {done}, not {events}"
    return rates


async def _drain(stage: Bench, consumer: object) -> None:
    stage.consumers, everyone = [consumer], stage.consumers  # type: ignore[list-item]
    await stage.drain()
    stage.consumers = everyone


def figures(*, quick: bool = False) -> list[Figure]:
    """The rates, and their ratios to the bare loop's."""
    with server() as running:
        rates = asyncio.run(measure(running.url, 20_000 if quick else 200_000))
    bare = rates["bare"]
    return [
        Figure("drain, bare loop", bare, "events/s"),
        Figure("drain, external", rates["nothing"], "events/s"),
        at_least("drain, external / bare loop", rates["nothing"] / bare, 0.75),
        Figure("drain, transactional", rates["mirror"], "events/s"),
        # 1.3 times the 0.60 of commit 901266c.
        at_least("drain, transactional / bare loop", rates["mirror"] / bare, 0.77),
    ]
