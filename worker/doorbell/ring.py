"""The writers' side of the doorbell, for what is appended by code: triggers do the same in `triggers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString

from psycopg import AsyncConnection

from worker.postgres.locks import channel_of, topic_lock

# A NOTIFY costs every writer of the cluster: it is sent only while someone sleeps, who holds the lock shared.
RING: LiteralString = """
select case when pg_try_advisory_lock(b.lock) then pg_advisory_unlock(b.lock)::text
            else pg_notify(b.channel, '')::text end
from unnest(%s::bigint[], %s::text[]) as b (lock, channel)
"""


async def ring(connection: AsyncConnection[Any], topics: Iterable[str]) -> None:
    """Wake workers that sleep on the topics when this transaction commits. Call it after appending the events."""
    wanted = sorted(set(topics))
    await connection.execute(RING, ([topic_lock(topic) for topic in wanted], [channel_of(topic) for topic in wanted]))
