"""Appending past events again, marked, for their handlers or for chosen ones. `events` finds them.

A replay goes the whole way: through the log, behind what is already there, to the handlers' cursors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Jsonb

from worker.declaration import Handler
from worker.enrolment import enrolled
from worker.errors import UsageError
from worker.events import Event
from worker.log import WANTED
from worker.ringing import ring

# Who is chosen by name gets the event also when it was the origin of the change. The note keeps what was said then,
# and says who replays and why.
APPEND: LiteralString = """
insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target)
select topic, op, key, old, new, case when %(target)s::text[] is null then origin end,
       case when jsonb_typeof(note) = 'object' then note when note is null then '{}'
            else jsonb_build_object('note', note) end || jsonb_build_object('replay', %(said)s::jsonb),
       id, %(target)s
from hearken.events where topic = any(%(topics)s) and id = any(%(ids)s) order by id
returning id, replay_of, topic, key
"""
HEARD: LiteralString = (
    "select count(*) from hearken.events where topic = any(%(topics)s) and id = any(%(ids)s) and " + WANTED
)


@dataclass(frozen=True)
class Reason:
    """Who replays, and why."""

    by: str
    text: str | None = None


@dataclass(frozen=True)
class Audience:
    """Whom a replay is for: the handlers `named`, or else all that hear the events."""

    handlers: Sequence[Handler]
    named: bool

    @property
    def target(self) -> list[str] | None:
        return [handler.name for handler in self.handlers] if self.named else None


@dataclass(frozen=True)
class Replayed:
    """What was appended (id, replay_of, topic, key of each), and how many of them each handler will be given."""

    events: list[dict[str, Any]]
    handlers: dict[str, int]


async def choose_audience(
    connection: AsyncConnection[Any], declared: Mapping[str, Handler], names: Collection[str], topics: Iterable[str]
) -> Audience:
    """The handlers of these names, or all that hear one of the topics.

    Raises UsageError for a name that is unknown or hears none of them, and when nobody does.
    """
    heard = set(topics)
    enrolments = await enrolled(connection)
    known = {name: e for name, e in enrolments.items() if name in declared}
    if unknown := sorted(set(names) - set(known)):
        raise UsageError(f"no such handler: {', '.join(unknown)}; known are {', '.join(sorted(known)) or 'none'}")
    hearing = {name for name, e in known.items() if heard.intersection(e.topics)}
    if deaf := sorted(set(names) - hearing):
        raise UsageError(f"{', '.join(deaf)} does not hear {', '.join(sorted(heard))}")
    if not hearing:
        raise UsageError(f"no handler hears {', '.join(sorted(heard))}")
    return Audience([declared[name] for name in sorted(names or hearing)], bool(names))


async def replay(
    connection: AsyncConnection[Any], events: Sequence[Event], audience: Audience, reason: Reason
) -> Replayed:
    """Append the events again in one transaction. Raises UsageError, with nothing appended, when nobody would get any:
    each handler asked for certain operations (ops=) and columns (watch=).
    """
    async with connection.transaction():
        appended = await append(connection, events, audience, reason)
        if unheard := [name for name, count in appended.handlers.items() if not count and audience.named]:
            raise UsageError(f"{', '.join(unheard)} asks for none of these events (ops=, watch=): nothing is replayed")
        if not any(appended.handlers.values()):
            raise UsageError("no handler asks for any of these events (ops=, watch=): nothing is replayed")
    return appended


async def append(
    connection: AsyncConnection[Any], events: Sequence[Event], audience: Audience, reason: Reason
) -> Replayed:
    """Append the events again, in the order of the log, and ring the doorbell. In the caller's transaction."""
    topics = sorted({event.topic for event in events})
    said = {"by": reason.by} | ({"reason": reason.text} if reason.text else {})
    values = {"topics": topics, "ids": [e.id for e in events], "target": audience.target, "said": Jsonb(said)}
    async with connection.cursor(row_factory=dict_row) as cursor:
        appended = await (await cursor.execute(APPEND, values)).fetchall()
    place = {"topics": topics, "ids": [row["id"] for row in appended]}
    heard = {handler.name: await _heard(connection, handler, place) for handler in audience.handlers}
    await ring(connection, topics)
    return Replayed(appended, heard)


async def _heard(connection: AsyncConnection[Any], handler: Handler, place: Mapping[str, Any]) -> int:
    watch = handler.subscription.watch
    wishes = {"ops": list(handler.subscription.ops), "watch": None if watch is None else list(watch)}
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(HEARD, {**place, **wishes, "handler": handler.name, "shards": 1, "shard": 0})
        (count,) = await cursor.fetchall()
    return int(count)
