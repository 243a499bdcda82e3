"""Which declaration decided about an event when a handler's cursor passed it, for `explain`.

A declaration that was replaced has left behind where the cursors stood then: what they had passed was judged by it, or
by an earlier one. Anything else is judged by the one in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.declare.declaration import declared_as
from worker.declare.handler import Handler
from worker.log.reader import WANTED, wishes

FORMER: LiteralString = """
select f.id, f.declaration, array_agg(e.id) as events
from hearken.events e cross join lateral (
    select f.id, f.declaration from hearken.former_declarations f
    where f.handler = %(handler)s and hearken.shard_of(hearken.slot_of(e.key), f.shards) = f.shard
      and hearken.passed(e.tx, e.id, f.done, f.target, f.last_id)
    order by f.id limit 1) f
where e.topic = %(topic)s and e.id = any(%(ids)s)
group by f.id, f.declaration
"""
ASKED_FOR: LiteralString = (
    "select id from (select * from hearken.events where topic = %(topic)s and id = any(%(ids)s)) e where " + WANTED
)


async def judged_formerly(
    connection: AsyncConnection[Any], topic: str, handler: Handler, ids: Iterable[int]
) -> dict[int, bool]:
    """The events that were passed under a former declaration, and whether that one asked for them."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FORMER, {"handler": handler.name, "topic": topic, "ids": list(ids)})
        former = await cursor.fetchall()
        judged = {event: False for row in former for event in row["events"]}
        for row in former:
            if row["declaration"] is not None:  # else it was not there yet
                asked = wishes(declared_as(handler, row["declaration"]))
                await cursor.execute(
                    ASKED_FOR, {**asked, "topic": topic, "ids": row["events"], "shards": 1, "shard": 0}
                )
                judged |= {found["id"]: True for found in await cursor.fetchall()}
    return judged
