"""Events that are parked as running: which are still this worker's own. Those of others see `takeover`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from worker.change import Change

# By the worker alone, and not by the state: a row that runs here has it, and the index of those that run is no help.
OURS: LiteralString = """
select o.event_id from hearken.parked o
where o.worker = %(worker)s and o.ctid = any(array(
    select p.ctid from unnest(%(key)s::text[], %(event_id)s::bigint[]) as n (key, id)
    cross join lateral (
        select p.ctid from hearken.parked p
        where p.handler = %(handler)s and p.slot = hearken.slot_of(n.key) and p.event_id = n.id offset 0) p))
for update
"""


async def still_ours(
    connection: AsyncConnection[Any], handler: str, worker: int, changes: Sequence[Change]
) -> set[int]:
    """Which of these events are still running here, by id; their rows are locked until the transaction ends."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        of = {"key": [change.key for change in changes], "event_id": [change.id for change in changes]}
        await cursor.execute(OURS, {"handler": handler, "worker": worker, **of})
        return set(await cursor.fetchall())
