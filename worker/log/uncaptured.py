"""Statements whose changes could not be written to the log: `capture` notes them, the doctor shows them.

A person is to end the cause, backfill the table and delete the notes. Those that nobody looked at go with their age.
"""

from __future__ import annotations

from typing import Any, LiteralString

import structlog
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

logger = structlog.get_logger("retention")

# A batch at a time, so that no transaction is long.
TRIM: LiteralString = """
with old as (
    delete from hearken.uncaptured where ctid = any(array(
        select u.ctid from hearken.uncaptured u
        where u.at < now() - make_interval(days => %s) order by u.at limit 5000))
    returning topic)
select topic, count(*) from old group by topic
"""


async def trim(connection: AsyncConnection[Any], days: int) -> int:
    """Delete the notes that are older than `days` days; returns how many."""
    deleted: dict[str, int] = {}
    async with connection.cursor(row_factory=tuple_row) as cursor:
        while batch := await (await cursor.execute(TRIM, (days,))).fetchall():
            for topic, count in batch:
                deleted[topic] = deleted.get(topic, 0) + count
    for topic, count in deleted.items():
        logger.warning("old notes of changes that were never captured are deleted", topic=topic, statements=count)
    return sum(deleted.values())
