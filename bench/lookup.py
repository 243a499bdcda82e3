"""How fast the events of one key are found in a long log: `hearken events --key` and `hearken explain`.

All events are of today, whose partition is still written to, and a twentieth of them was appended since its index was
last summarized, as vacuum leaves it at the worst. What is measured is what the commands ask of the database, not how
Python starts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, LiteralString

from bench.figure import Figure, at_most
from bench.stage import server, spaces
from worker import Change, Context
from worker.declare.registry import Registry
from worker.operate.events import Filter, find_events, known_topics
from worker.operate.explain import read_history
from worker.operate.keys import read_key
from worker.postgres.database import Connection
from worker.testing import bench

TOPIC = "public.spaces"
KEYS = {"a rare key": "4711", "one in 5,000": "7", "one in 100": "3", "an unknown key": "-1"}
# A twentieth of the keys' events are of few keys; the others are scattered over many, each key 32 times.
FILL: LiteralString = """
insert into hearken.events (topic, op, key, old, new)
select 'public.spaces', 'update',
       case when i %% 100 = 3 then '3' when i %% 5000 = 4 then '7'
            else (10 + (hashint4(i)::bigint + 2147483648) %% greatest(%(events)s / 32, 1))::text end,
       '{"name": "x"}', json_build_object('id', i, 'description', repeat('word ', 20))
from generate_series(%(first)s::int, %(last)s::int) i
"""
SUMMARIZE: LiteralString = """
select brin_summarize_new_values(format('hearken.%I', relname)::regclass) from pg_class
where relname = to_char(now() at time zone 'UTC', '"events_"YYYYMMDD"_key"')
"""
registry = Registry()


@registry.on(TOPIC, watch=("capacity",))
async def nothing(change: Change, ctx: Context) -> None:
    """An external handler that does nothing."""


async def _events(connection: Connection, key: str) -> int:
    await known_topics(connection)
    return len(await find_events(connection, Filter([TOPIC], key=await read_key(connection, TOPIC, key)), limit=50))


async def _explain(connection: Connection, key: str) -> int:
    await known_topics(connection)
    key = await read_key(connection, TOPIC, key)
    handlers = registry.handlers.values()
    return len((await read_history(connection, TOPIC, key, handlers, since=None, limit=100)).timeline)


async def _milliseconds(look: Callable[[], Awaitable[int]], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        await look()
        taken.append((time.perf_counter() - started) * 1000)
    return sorted(taken)[times // 2]


async def measure(url: str, events: int) -> Mapping[tuple[str, str], float]:
    """Milliseconds of each command for each kind of key."""
    figures: dict[tuple[str, str], float] = {}
    with spaces(url, 1000) as connection:
        async with bench(url, nothing, declared=registry) as stage:
            summarized = events - events // 20
            connection.execute(FILL, {"events": events, "first": 1, "last": summarized})
            connection.execute(SUMMARIZE)
            connection.execute("analyze hearken.events")
            connection.execute(FILL, {"events": events, "first": summarized + 1, "last": events})
            looks: dict[str, Any] = {"events --key": _events, "explain": _explain}
            for kind, key in KEYS.items():
                for command, look in looks.items():
                    figures[command, kind] = await _milliseconds(lambda: look(stage.connection, key))
    return figures


def figures(*, quick: bool = False) -> list[Figure]:
    """How long each takes."""
    events = 200_000 if quick else 5_000_000
    with server() as running:
        found = asyncio.run(measure(running.url, events))
    return [at_most(f"{command}, {kind} of {events:,}", ms, 200, "ms") for (command, kind), ms in found.items()]
