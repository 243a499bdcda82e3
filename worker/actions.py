"""What a person did, kept in `hearken.actions`: written here alone, in the transaction that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

Action = Literal["retry", "skip", "pause", "resume", "confirm", "forget", "rebase"]

RECORD: LiteralString = """
insert into hearken.actions (by, action, handler, topic, key, event_id, reason, details)
select %(by)s, %(action)s, s.handler, s.topic, s.key, s.event_id, %(reason)s, s.details
from unnest(%(handler)s::text[], %(topic)s::text[], %(key)s::text[], %(event_id)s::bigint[], %(details)s::jsonb[])
     as s (handler, topic, key, event_id, details)
"""


@dataclass(frozen=True)
class Subject:
    """What it was done to: one event of a handler, or (without an event) the handler as a whole."""

    handler: str
    topic: str | None = None
    key: str | None = None
    event_id: int | None = None
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Person:
    """Who does it (user@host), and why."""

    by: str
    reason: str | None = None


async def record(connection: AsyncConnection[Any], action: Action, subjects: Sequence[Subject], person: Person) -> None:
    """Keep what `person` does to each of the subjects. Call it inside the transaction that does it."""
    await connection.execute(
        RECORD,
        {
            "by": person.by,
            "action": action,
            "reason": person.reason,
            "handler": [s.handler for s in subjects],
            "topic": [s.topic for s in subjects],
            "key": [s.key for s in subjects],
            "event_id": [s.event_id for s in subjects],
            "details": [None if s.details is None else Jsonb(s.details) for s in subjects],
        },
    )
