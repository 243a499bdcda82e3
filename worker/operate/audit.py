"""What a person did, kept in `hearken.actions`: written here alone, in the transaction that does it.

What is done by appending events (replay, backfill, reconcile, job) is kept in their notes instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Action = Literal["retry", "skip", "pause", "resume", "confirm", "forget", "rebase", "failover"]

RECORD: LiteralString = """
insert into hearken.actions (by, action, handler, topic, key, event_id, reason, details)
select %(by)s, %(action)s, s.handler, s.topic, s.key, s.event_id, %(reason)s, s.details
from unnest(%(handler)s::text[], %(topic)s::text[], %(key)s::text[], %(event_id)s::bigint[], %(details)s::jsonb[])
     as s (handler, topic, key, event_id, details)
"""
LAST: LiteralString = """
select by, action, at from hearken.actions
where event_id is not distinct from %(event_id)s and (%(handler)s::text is null or handler = %(handler)s)
  and action = any(%(actions)s)
order by id desc limit 1
"""


@dataclass(frozen=True)
class ActionSubject:
    """What it was done to: one event of a handler, or (without an event) the handler as a whole."""

    handler: str
    topic: str | None = None
    key: str | None = None
    event_id: int | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Actor:
    """Who does something (`by`: user@host, or a handler's name), and why."""

    by: str
    reason: str | None = None

    @property
    def note(self) -> dict[str, str]:
        """Who and why, as the note of an event keeps it."""
        return {"by": self.by} | ({"reason": self.reason} if self.reason else {})


async def record_action(
    connection: AsyncConnection[Any], action: Action, subjects: Sequence[ActionSubject], actor: Actor
) -> None:
    """Keep what `person` does to each of the subjects. Call it inside the transaction that does it."""
    await connection.execute(
        RECORD,
        {
            "by": actor.by,
            "action": action,
            "reason": actor.reason,
            "handler": [s.handler for s in subjects],
            "topic": [s.topic for s in subjects],
            "key": [s.key for s in subjects],
            "event_id": [s.event_id for s in subjects],
            "details": [None if s.details is None else Jsonb(s.details) for s in subjects],
        },
    )


async def last(
    connection: AsyncConnection[Any], actions: Sequence[Action], *, handler: str | None, event_id: int | None = None
) -> str | None:
    """Who did one of these last ("retry by anna@desk at …"), to that event or to the handler as a whole."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LAST, {"actions": list(actions), "handler": handler, "event_id": event_id})
        row = await cursor.fetchone()
    return None if row is None else f"{row['action']} by {row['by']} at {row['at']:%Y-%m-%d %H:%M:%S}"
