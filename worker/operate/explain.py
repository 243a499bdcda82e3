"""Everything the database knows about one key, for `hearken explain`: what happened, in order, and how it stands.

A delivery that went well leaves no row of its own, so it is read from the cursors: an event that a handler's cursor has
passed and that is not parked was delivered (or, for a level-triggered handler, taken over by a newer one), if the
handler's declaration at that time asked for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.capture.catalog import read_table
from worker.change import changed_columns, former, parse
from worker.declare.handler import Handler
from worker.errors import WatchError
from worker.log.lookups import find_by_key
from worker.log.reader import WANTED, wishes
from worker.operate.judging import judged_formerly
from worker.operate.row_now import read_row_now

EVENTS: LiteralString = """
select e.id, e.at, e.op, e.key, e.origin, e.replay_of, e.target, e.note::text as note, e.old::text as old,
       e.new::text as new, e.left_out
from hearken.events e
where e.topic = %(topic)s and (%(ids)s::bigint[] is null or e.id = any(%(ids)s))
  and (%(since)s::timestamptz is null or e.at >= %(since)s)
order by e.id desc limit %(limit)s
"""
EFFECTS: LiteralString = """
select event_id, handler, key, step, state, object_id, request_id, changed, error, started_at, ended_at
from hearken.effects
where topic = %(topic)s and (%(key)s::text is null or key = %(key)s)
  and (%(since)s::timestamptz is null or started_at >= %(since)s)
order by id desc limit %(limit)s
"""
PARKED: LiteralString = """
select event_id, handler, key, state, attempt, due_at, reason, parked_at from hearken.parked
where topic = %(topic)s and (%(since)s::timestamptz is null or parked_at >= %(since)s)
  and (%(key)s::text is null or (key = %(key)s and slot = hearken.slot_of(%(key)s)
                                 and handler = any(array(select c.handler from hearken.cursors c))))
order by event_id desc limit %(limit)s
"""
# What was done about this key, and what was done to a handler as a whole.
ACTIONS: LiteralString = """
select at, by, action, handler, event_id, reason from hearken.actions
where ((topic = %(topic)s and (%(key)s::text is null or key = %(key)s))
       or (event_id is null and key is null and handler = any(%(handlers)s)))
  and (%(since)s::timestamptz is null or at >= %(since)s)
order by id desc limit %(limit)s
"""
# Which events a handler gets or has got, and whether its cursor has passed each; `moved_at` is when it last moved.
DELIVERED: LiteralString = (
    """
select e.id, c.moved_at, hearken.passed(e.tx, e.id, c.done, c.target, c.last_id) as passed
from (select * from hearken.events where topic = %(topic)s and id = any(%(ids)s) and (id = any(%(heard)s) or """
    + WANTED
    + """)) e
cross join lateral (
    select c.* from hearken.cursors c where c.handler = %(handler)s
      and hearken.shard_of(hearken.slot_of(e.key), c.shards) = c.shard
    order by c.seq desc limit 1) c
order by e.id
"""
)


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened. `kind` is change, replay, effect, parked or action; `facts` are plain, for JSON."""

    at: datetime
    kind: str
    event_id: int | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class DeliveryState:
    """How one event stands with one handler.

    state     delivered, skipped (by a person), waiting (its cursor has not come to it), due, held, dead, or not asked
              for (its cursor passed it under a declaration that did not want it)
    before    when it was delivered at the latest, as far as is kept; None while it is not
    attempts  how many have failed, as far as is kept: while it is parked
    seconds   from its first effect to the end of its last, None where it had none
    """

    event_id: int
    handler: str
    state: str
    before: datetime | None = None
    attempts: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class History:
    """All that is known of a key. `row` is the row now, without excluded columns; None when it is gone or no table."""

    topic: str
    key: str | None
    timeline: Sequence[TimelineEntry]
    deliveries: Sequence[DeliveryState]
    row: Mapping[str, Any] | None
    is_table: bool
    more: bool = field(default=False)


async def read_history(
    connection: AsyncConnection[Any],
    topic: str,
    key: str | None,
    handlers: Iterable[Handler],
    *,
    since: datetime | None,
    limit: int,
) -> History:
    """The newest `limit` events about a key, and their outcomes. `handlers` are those that subscribe to the topic."""
    hearing = list(handlers)
    about = {"topic": topic, "key": key, "since": since, "limit": limit + 1}
    ids = None if key is None else await find_by_key(connection, [topic], key, since=since, limit=limit + 1)
    events = await _rows(connection, EVENTS, {**about, "ids": ids})
    more, events = len(events) > limit, events[:limit]
    if more:
        about["since"] = events[-1]["at"]
    effects = await _rows(connection, EFFECTS, about)
    parked = await _rows(connection, PARKED, {**about, "since": None})
    actions = await _rows(connection, ACTIONS, {**about, "handlers": [h.name for h in hearing]})
    deliveries = [d for h in hearing for d in await _deliveries(connection, topic, h, events, effects, parked)]
    deliveries = _without_skipped(deliveries, actions)
    timeline = [*map(_change, events), *map(_effect, effects), *map(_parked, parked), *map(_action, actions)]
    row, is_table = await _row(connection, topic, key, hearing)
    # What happened at the same moment is shown in the order of cause: the change first.
    timeline.sort(key=lambda entry: (entry.at, entry.event_id or 0))
    return History(topic, key, timeline, sorted(deliveries, key=lambda d: d.event_id), row, is_table, more)


async def _rows(
    connection: AsyncConnection[Any], query: LiteralString, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(query, values)).fetchall()


def _change(event: Mapping[str, Any]) -> TimelineEntry:
    old, new = parse(former(event["op"], event["old"], event["new"])), parse(event["new"])
    facts = {"op": event["op"], "key": event["key"], "changed": changed_columns(event["op"], old, new)}
    note = parse(event["note"])
    if event["replay_of"] is not None:
        said = note.get("replay") if isinstance(note, dict) else None
        facts = {"op": event["op"], "key": event["key"], "replay_of": event["replay_of"], "replay": said}
    further = {"origin": event["origin"], "target": event["target"], "note": note, "left_out": event["left_out"]}
    known = {name: value for name, value in further.items() if value is not None}
    return TimelineEntry(
        event["at"], "change" if event["replay_of"] is None else "replay", event["id"], {**facts, **known}
    )


def _effect(effect: Mapping[str, Any]) -> TimelineEntry:
    names = ("handler", "step", "state", "object_id", "request_id", "changed", "error", "ended_at")
    facts = {name: effect[name] for name in names}
    if effect["state"] == "started":
        facts["state"] = "unknown"  # the worker died, or no answer came
    return TimelineEntry(effect["started_at"], "effect", effect["event_id"], {**facts, "seconds": _seconds([effect])})


def _parked(row: Mapping[str, Any]) -> TimelineEntry:
    names = ("handler", "state", "attempt", "due_at", "reason")
    return TimelineEntry(row["parked_at"], "parked", row["event_id"], {name: row[name] for name in names})


def _action(row: Mapping[str, Any]) -> TimelineEntry:
    names = ("action", "by", "handler", "reason")
    return TimelineEntry(row["at"], "action", row["event_id"], {name: row[name] for name in names})


async def _deliveries(
    connection: AsyncConnection[Any],
    topic: str,
    handler: Handler,
    events: Sequence[Mapping[str, Any]],
    effects: Sequence[Mapping[str, Any]],
    parked: Sequence[Mapping[str, Any]],
) -> list[DeliveryState]:
    ids = [e["id"] for e in events]
    formerly = await judged_formerly(connection, topic, handler, ids)
    heard = [event for event, asked_for in formerly.items() if asked_for]
    asked = {**wishes(handler), "topic": topic, "ids": ids, "heard": heard, "shards": 1, "shard": 0}
    rows = await _rows(connection, DELIVERED, asked)
    aside = {p["event_id"]: p for p in parked if p["handler"] == handler.name}
    made = [e for e in effects if e["handler"] == handler.name]
    told = [_delivery(row, handler.name, aside.get(row["id"]), made) for row in rows]
    return [
        replace(d, state="not asked for", before=None)
        if d.state == "delivered" and not formerly.get(d.event_id, True)
        else d
        for d in told
    ]


def _without_skipped(deliveries: Iterable[DeliveryState], actions: Iterable[Mapping[str, Any]]) -> list[DeliveryState]:
    """A cursor has passed what a person has skipped, too."""
    skipped = {(a["event_id"], a["handler"]) for a in actions if a["action"] == "skip"}
    return [replace(d, state="skipped", before=None) if (d.event_id, d.handler) in skipped else d for d in deliveries]


def _delivery(
    row: Mapping[str, Any], handler: str, parked: Mapping[str, Any] | None, effects: Sequence[Mapping[str, Any]]
) -> DeliveryState:
    seconds = _seconds([effect for effect in effects if effect["event_id"] == row["id"]])
    if parked is not None:
        return DeliveryState(row["id"], handler, parked["state"], None, parked["attempt"], seconds)
    if not row["passed"]:
        return DeliveryState(row["id"], handler, "waiting", seconds=seconds)
    return DeliveryState(row["id"], handler, "delivered", row["moved_at"], seconds=seconds)


def _seconds(effects: Sequence[Mapping[str, Any]]) -> float | None:
    if not effects or any(effect["ended_at"] is None for effect in effects):
        return None
    first = min(effect["started_at"] for effect in effects)
    return float((max(effect["ended_at"] for effect in effects) - first).total_seconds())


async def _row(
    connection: AsyncConnection[Any], topic: str, key: str | None, handlers: Sequence[Handler]
) -> tuple[Mapping[str, Any] | None, bool]:
    try:
        if key is None:
            await read_table(connection, topic)
            return None, True
        return await read_row_now(connection, topic, key, handlers), True
    except WatchError:
        return None, False
