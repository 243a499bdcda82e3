"""Settling a failover: a person says that outside systems agree with the database again."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

from worker.errors import Overtaken
from worker.log.failover import Failover, open_failovers
from worker.operate.audit import ActionSubject, Actor, record_action
from worker.postgres.database import CLUSTER

SETTLE: LiteralString = (
    "update hearken.timelines set settled_at = now() where settled_at is null and timeline = any(%s) and cluster = "
    + CLUSTER
)


async def settle_failovers(connection: AsyncConnection[Any], actor: Actor) -> list[Failover]:
    """Settle every failover that is open; returns what was known of them. Raises Overtaken when there is none."""
    async with connection.transaction():
        noticed = await open_failovers(connection)
        if not noticed:
            raise Overtaken("no failover is open: there is nothing to settle")
        await connection.execute(SETTLE, ([one.timeline for one in noticed],))
        subjects = [
            ActionSubject(one.handler or "", details={"timeline": one.timeline, "lost": one.events}) for one in noticed
        ]
        await record_action(connection, "failover", subjects, actor)
    return noticed
