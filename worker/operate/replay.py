"""Appending past events again, marked, for their handlers or for chosen ones. See `selection` and `throttle`.

A replay goes the whole way: through the log, behind what is already there, to the handlers' cursors. It is an event
itself, of the topic hearken/replay, which keeps who asked for what and why; its id is the run that each appended event
names in its note. A run is appended in the order of the log, a chunk to a transaction, so what it has done is what the
log has of it: interrupted at any point, it resumes behind its newest event, with nothing lost and nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Json, Jsonb

from worker.declare.handler import Handler
from worker.deliver.parked import PROMOTE
from worker.doorbell.ring import ring
from worker.errors import InProgress, UsageError
from worker.install.enrolment import enrolled
from worker.log.appending import begin_appending
from worker.operate import selection as choices
from worker.operate.audit import Actor
from worker.operate.selection import DEAD, IN_LOG, Selection, SelectionCount
from worker.postgres.locks import replay_lock

TOPIC = "hearken/replay"
ASK: LiteralString = """
insert into hearken.events (id, topic, op, key, new, note)
select id, %(topic)s, 'request', id::text, %(new)s, %(note)s from nextval('hearken.events_id_seq') id returning id
"""
# Runs that may have been interrupted, newest first.
ASKED: LiteralString = """
select id, at, new::text as new_json, note from hearken.events
where topic = %(topic)s and (%(run)s::bigint is null or id = %(run)s)
  and (%(run)s::bigint is not null or at > now() - interval '1 hour')
order by id desc limit 100
"""
NEWEST: LiteralString = """
select max(newest.replay_of) from unnest(%(topics)s::text[]) t (topic) cross join lateral (
    select e.replay_of from hearken.events e
    where e.topic = t.topic and e.id > %(run)s and e.replay_of is not null and e.note->'replay'->>'run' = %(run)s::text
    order by e.id desc limit 1) newest
"""
LOCK: LiteralString = "select pg_advisory_lock(%s)"
# The server may take a moment to see that a killed session is gone.
TAKE_WITHIN: LiteralString = "set local lock_timeout = '1s'"
# The note keeps what was said then, and says who replays and why.
AGAIN: LiteralString = """
appended as (
    insert into hearken.events (topic, op, key, old, new, origin, note, replay_of, target, left_out)
    select topic, op, key, old, new, case when not %(named)s then origin end,
           case when jsonb_typeof(note) = 'object' then note when note is null then '{}'
                else jsonb_build_object('note', note) end || jsonb_build_object('replay', %(said)s::jsonb),
           id, case when %(named)s then heard end, left_out
    from taken order by id
    returning id, tx, topic, key, replay_of)
select c.id as chosen, a.id, a.tx::text as tx, a.replay_of, c.topic, c.key, c.heard
from chosen c left join appended a on a.replay_of = c.id order by c.id
"""
APPEND: LiteralString = "with chosen as materialized (" + IN_LOG + "), taken as (select * from chosen), " + AGAIN
# Who takes a dead event out appends it: of two at once, one.
APPEND_DEAD: LiteralString = (
    "with chosen as materialized ("
    + DEAD
    + """),
out as (
    delete from hearken.parked p using chosen c
    where p.handler = any(c.heard) and p.event_id = c.id and p.topic = c.topic and p.state = 'dead'
    returning p.handler, p.event_id),
whom as (select event_id, array_agg(handler order by handler) as handlers from out group by event_id),
taken as (
    select c.id, c.topic, c.op, c.key, c.old, c.new, c.origin, c.note, c.left_out, w.handlers as heard
    from chosen c join whom w on w.event_id = c.id),"""
    + AGAIN
)


@dataclass(frozen=True)
class Audience:
    """Whom a replay is for: the handlers `named`, or else all that subscribe to the events."""

    handlers: list[Handler]
    named: bool

    @property
    def target(self) -> list[str] | None:
        return [handler.name for handler in self.handlers] if self.named else None

    @property
    def topics(self) -> list[str]:
        return sorted({handler.topic for handler in self.handlers})


@dataclass(frozen=True)
class Replay:
    """A replay that was asked for. `after`: the events up to this id are appended already."""

    id: int
    choice: Selection
    actor: Actor
    after: int = 0

    @property
    def complete(self) -> bool:
        return self.after >= self.choice.last


@dataclass(frozen=True)
class Chunk:
    """What one transaction has appended: id, tx, replay_of, topic, key, heard of each. `last`: the last chosen id."""

    events: list[dict[str, Any]]
    last: int


async def choose_audience(
    connection: AsyncConnection[Any], declared: Mapping[str, Handler], names: Collection[str], topics: Iterable[str]
) -> Audience:
    """The handlers of these names, or all that subscribe to one of the topics (any topic, if none is given).

    Raises UsageError for a name that is unknown or subscribes to none of them, and when nobody does.
    """
    known = {name: e for name, e in (await enrolled(connection)).items() if name in declared}
    if unknown := sorted(set(names) - set(known)):
        raise UsageError(f"no such handler: {', '.join(unknown)}; known: {', '.join(sorted(known)) or 'none'}")
    heard = set(topics) or {topic for e in known.values() for topic in e.topics}
    hearing = {name for name, e in known.items() if heard.intersection(e.topics)}
    if deaf := sorted(set(names) - hearing):
        raise UsageError(f"{', '.join(deaf)} does not subscribe to {', '.join(sorted(heard))}")
    if not hearing:
        raise UsageError(f"no handler subscribes to {', '.join(sorted(heard)) or 'anything: run `hearken migrate`'}")
    return Audience([declared[name] for name in sorted(names or hearing)], bool(names))


def refuse_unheard(choice: Selection, count: SelectionCount) -> None:
    """Raises UsageError when a handler chosen by name, or every one, would be given nothing."""
    unheard = [name for name, events in count.handlers.items() if not events]
    if choice.named and not choice.dead and unheard:
        raise UsageError(f"{', '.join(unheard)} asks for none of these events (ops=, watch=): nothing was replayed")
    if not count.events:
        raise UsageError("no handler asks for any of these events (ops=, watch=): nothing was replayed")


async def begin_replay(
    connection: AsyncConnection[Any], choice: Selection, actor: Actor, words: Mapping[str, Any]
) -> Replay:
    """Ask for a replay: nothing is appended yet but the request. The run is ours until the connection is closed.

    words  the command that chose, as it was given, by which `find_unfinished` knows it again
    """
    new = {"choice": json.loads(choices.to_json(choice)), "words": words}
    async with connection.transaction(), connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(ASK, {"topic": TOPIC, "new": Json(new), "note": Jsonb(actor.note)})
        (run,) = await cursor.fetchall()
        await cursor.execute(LOCK, (replay_lock(run),))
    return Replay(run, choice, actor)


async def find_unfinished(
    connection: AsyncConnection[Any], declared: Mapping[str, Handler], words: Mapping[str, Any]
) -> Replay | None:
    """The newest run of the last hour that was begun with the same words, is not done, and is run by nobody.

    It is ours then, as with `begin`.
    """
    for row in await _asked(connection, None):
        if json.loads(row["new_json"])["words"] == words:
            run = await _as_run(connection, row, declared)
            if run.complete or not await _take(connection, run.id):
                continue
            run = await _as_run(connection, row, declared)  # as it stands now that nobody else runs it
            if not run.complete:
                return run
    return None


async def resume_replay(connection: AsyncConnection[Any], declared: Mapping[str, Handler], run: int) -> Replay:
    """The run of this id, which is ours then, as with `begin`.

    Raises UsageError when there is none, InProgress while somebody else runs it.
    """
    rows = await _asked(connection, run)
    if not rows:
        raise UsageError(f"no such replay: {run}; `hearken events --topic {TOPIC}` lists them")
    if not await _take(connection, run):
        raise InProgress(f"somebody else is running replay {run}: wait for it, or stop it")
    return await _as_run(connection, rows[0], declared)


async def append_chunk(connection: AsyncConnection[Any], run: Replay, after: int, size: int) -> Chunk | None:
    """Append the next chunk of a run, after the chosen id `after`, and ring; None when there is no more.

    A dead event is taken out of what is parked in the same transaction, and what was held behind it is let go.
    """
    note = {"run": run.id, **run.actor.note}
    query = APPEND_DEAD if run.choice.dead else APPEND
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        await begin_appending(connection)
        part = {**run.choice.part(after, size), "said": Jsonb(note), "named": run.choice.named or run.choice.dead}
        rows = await (await cursor.execute(query, part)).fetchall()
        events = [row for row in rows if row["id"] is not None]
        if run.choice.dead:
            await _let_go(connection, run.choice.handlers, events)
        await ring(connection, {event["topic"] for event in events})
    return Chunk(events, rows[-1]["chosen"]) if rows else None


async def _let_go(connection: AsyncConnection[Any], handlers: Iterable[Handler], events: list[dict[str, Any]]) -> None:
    for handler in handlers:
        of_it = [event for event in events if handler.name in event["heard"]]
        keys = {"topic": [event["topic"] for event in of_it], "key": [event["key"] for event in of_it]}
        if of_it:
            await connection.execute(PROMOTE, {"handler": handler.name, **keys})


async def _asked(connection: AsyncConnection[Any], run: int | None) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(ASKED, {"topic": TOPIC, "run": run})).fetchall()


async def _take(connection: AsyncConnection[Any], run: int) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(TAKE_WITHIN)
            await connection.execute(LOCK, (replay_lock(run),))
    except errors.LockNotAvailable:
        return False
    return True


async def _as_run(connection: AsyncConnection[Any], row: Mapping[str, Any], declared: Mapping[str, Handler]) -> Replay:
    values = json.loads(row["new_json"])["choice"]
    if gone := sorted(set(values["handlers"]) - set(declared)):
        raise UsageError(f"replay {row['id']} was for {', '.join(gone)}, which the code no longer has")
    choice = choices.from_json(values, [declared[name] for name in values["handlers"]])
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(NEWEST, {"topics": list(choice.wanted.topics), "run": row["id"]})
        (newest,) = await cursor.fetchall()
    return Replay(row["id"], choice, Actor(row["note"]["by"], row["note"].get("reason")), newest or 0)
