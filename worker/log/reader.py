"""Reading the log: open a window over what one snapshot sees and the cursor's does not, and read it in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from worker.change import Change
from worker.declare.handler import Handler
from worker.errors import NotAllowed
from worker.log.cursors import Claim, Position

# Bytes of rows that come with their event. A row that is larger, or may be, is fetched after it.
INLINE = 64_000

# A window is not opened when it would begin more than so many times a batch before what is new.
STALE = 10
FIELDS = ("id", "at", "topic", "op", "key", "old_json", "new_json", "note_json", "replay_of")
# Seconds until one looks again whether the worker that runs something is still there.
LOOK_AGAIN = 0.5

# Where a window begins and ends, without reading it. What was in flight in `done` may have small ids: only where it
# has left events of this topic does the window begin at the floor. The last id that was given is read after the
# snapshot, so that no event that the snapshot shows has a greater one.
WINDOW: LiteralString = """
select case when exists (
           select from pg_snapshot_xip(%(done)s::pg_snapshot) x (tx) cross join lateral (
               select from hearken.events e where e.topic = %(topic)s and e.tx between x.tx and x.tx
               order by e.tx limit 1) e
           where pg_visible_in_snapshot(x.tx, pg_current_snapshot())) then %(floor_id)s::bigint
       else %(done_id)s::bigint end as first,
       pg_sequence_last_value('hearken.events_id_seq') as last, pg_current_snapshot()::text as target
"""
# Whether an event of its topics is one the handler (and shard) asked for.
WANTED: LiteralString = """(
    origin is distinct from %(handler)s and (target is null or %(handler)s = any(target))
    and (op = 'snapshot' or op = any(%(ops)s))
    and (op <> 'update' or case when %(watch)s::text[] is not null then hearken.touches(old, new, %(watch)s::text[])
                                else not %(excludes)s or old::text is distinct from new::text end)
    and (%(shards)s = 1 or hearken.shard_of(hearken.slot_of(key), %(shards)s) = %(shard)s))"""
# How many bytes the rows of an event may have, at most, without looking at them: a stored value says how long it is, a
# compressed one not what it was, but no method makes more than so many bytes of one.
# https://www.postgresql.org/docs/current/storage-toast.html
WEIGHT: LiteralString = """(
    coalesce(pg_column_size(old)::bigint * case pg_column_compression(old) when 'pglz' then 91 when 'lz4' then 255
             else 1 end, 0)
    + coalesce(pg_column_size(new)::bigint * case pg_column_compression(new) when 'pglz' then 91 when 'lz4' then 255
               else 1 end, 0)
    + coalesce(pg_column_size(note)::bigint * case pg_column_compression(note) when 'pglz' then 91 when 'lz4' then 255
               else 1 end, 0))"""
# Scanned and wanted are told apart outside the limits: a filter inside one is badly estimated, and ends in a
# sequential scan. What is not wanted comes back without its rows, to say how far the scan went; so does what is large,
# with its weight, for `rows` to fetch. Behind the fence (`offset 0`) each is judged and weighed once.
JUDGED: LiteralString = (
    WEIGHT
    + """ as weight from scanned s offset 0)
select id, at, topic, op, key, case when wanted and weight <= %(inline)s then old::text end,
       case when wanted and weight <= %(inline)s then new::text end,
       case when wanted and weight <= %(inline)s then note::text end, replay_of, wanted, pg_current_snapshot()::text,
       case when weight > %(inline)s then weight end
from judged order by id
"""
)
# What lies between a window's ids and is not of it is scanned like the rest, and not wanted: so no statement reads more
# than `limit` events, whatever there is.
BATCH: LiteralString = (
    """
with scanned as materialized (
    select * from hearken.events e
    where e.topic = %(topic)s and e.id > %(last_id)s and e.id <= %(max_id)s order by e.id limit %(limit)s),
judged as (select s.*, pg_visible_in_snapshot(s.tx, %(target)s::pg_snapshot)
                       and not pg_visible_in_snapshot(s.tx, %(done)s::pg_snapshot) and """
    + WANTED
    + " as wanted, "
    + JUDGED
)
# Most windows are small: this reads one whole, if there are fewer than `limit` events in it, without opening it first.
RECENT: LiteralString = (
    """
with scanned as materialized (
    select * from hearken.unseen_events(%(topic)s, %(done)s::pg_snapshot, %(limit)s)),
judged as (select s.*, """
    + WANTED
    + " as wanted, "
    + JUDGED
)
# Looked at before sleeping: takes no lock, writes nothing.
PEEK: LiteralString = """
select c.target is not null
       or exists (select from hearken.unseen_events(%(topic)s, c.done, 1)) as work,
       (select extract(epoch from min(p.due_at) - now())::float8 from hearken.parked p
        where p.handler = c.handler and p.state = 'due'
          and hearken.shard_of(p.slot, c.shards) = c.shard) as due_in,
       exists (select from hearken.parked p where p.handler = c.handler and p.state = 'running'
               and (p.worker <> %(worker)s or not p.event_id = any(%(flying)s::bigint[]))
               and hearken.shard_of(p.slot, c.shards) = c.shard) as elsewhere
from hearken.cursors c where c.handler = %(handler)s and c.shard = %(shard)s order by c.seq desc limit 1
"""


@dataclass(frozen=True)
class Batch:
    """Events to deliver, in order, and where the cursor stands when they are settled.

    opened  the window, when this is its first batch; None when it was opened before
    whole   how many events it holds of its topics, all of them in this batch; None when there may be more
    heavy   which of the changes have come without their rows, and how many bytes those may have: see `rows`
    within  the window, as it is before this batch
    """

    changes: list[Change]
    then: Position
    within: Position
    opened: Position | None = None
    whole: int | None = None
    heavy: Mapping[int, int] = field(default_factory=dict)


async def read_batch(
    connection: AsyncConnection[Any],
    handler: Handler,
    shard: int,
    claim: Claim,
    size: int,
    inline: int = INLINE,
) -> Batch | None:
    """The next batch of a claimed cursor, opening a window when none is open; None when there is nothing new.

    It is empty when the cursor is to be moved to where it stands first, so that the window need not begin far back.

    inline  bytes up to which an event comes with its rows; below 0 nothing is looked into, not even what it changed
    """
    limit = size * handler.shards  # a shard wants only its part of what is scanned
    position = claim.position
    window, opened = position, None
    if position.target is None:
        rows = await _read(connection, RECENT, _looking(handler, shard, position, limit, inline))
        if not rows:
            return None
        if len(rows) < limit:
            opened = _opened(claim, rows[0][10], rows[0][0] - 1, rows[-1][0])
            return _batch(rows, _closed(opened), opened, opened, len(rows))
        if claim.newest - claim.seen_id > STALE * limit:
            return Batch([], position, position)
        window = opened = await _open(connection, handler, claim)
    rows = await _read(connection, BATCH, _looking(handler, shard, window, limit, inline))
    if len(rows) < limit:
        return _batch(rows, _closed(window), window, opened)
    return _batch(rows, replace(window, last_id=rows[-1][0]), window, opened)


def _batch(
    rows: Sequence[tuple[Any, ...]],
    then: Position,
    within: Position,
    opened: Position | None,
    whole: int | None = None,
) -> Batch:
    wanted = [row for row in rows if row[9]]
    heavy = {row[0]: row[11] for row in wanted if row[11] is not None}
    return Batch([to_change(row) for row in wanted], then, within, opened, whole, heavy)


def _looking(handler: Handler, shard: int, window: Position, limit: int, inline: int) -> dict[str, Any]:
    asked = parameters(handler, shard, window, limit)
    return {**asked, "inline": inline, "watch": asked["watch"] if inline >= 0 else None}


async def _read(
    connection: AsyncConnection[Any], query: LiteralString, parameters: dict[str, Any]
) -> list[tuple[Any, ...]]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchall()


async def peek(
    connection: AsyncConnection[Any], handler: Handler, shard: int, worker: int, flying: Sequence[int]
) -> float | None:
    """Seconds until there is something to do as far as one can see now: 0 for now, None for nothing in sight.

    What other workers are running is looked at again after a while, because they may be gone by then.
    """
    async with connection.cursor(row_factory=tuple_row) as cursor:
        asked = {"topic": handler.topic, "handler": handler.name, "shard": shard, "worker": worker, "flying": flying}
        await cursor.execute(PEEK, asked)
        row = await cursor.fetchone()
    if row is None or row[0]:
        return 0.0
    due_in: float | None = row[1]
    if row[2]:
        return LOOK_AGAIN if due_in is None else max(0.0, min(due_in, LOOK_AGAIN))
    return None if due_in is None else max(0.0, due_in)


async def _open(connection: AsyncConnection[Any], handler: Handler, claim: Claim) -> Position:
    before = claim.position
    asked = {"topic": handler.topic, "done": before.done, "done_id": before.done_id, "floor_id": before.floor_id}
    async with connection.cursor(row_factory=tuple_row) as cursor:
        ((first, last, target),) = await (await cursor.execute(WINDOW, asked)).fetchall()
    if last is None:
        raise NotAllowed(
            "the role may not read hearken.events_id_seq: run: grant usage on sequence hearken.events_id_seq to the"
            " role of DATABASE_URL"
        )
    return _opened(claim, target, first, last)


def _opened(claim: Claim, target: str, first: int, last: int) -> Position:
    """The window (first, last], which ends at `target`: a snapshot that was taken just now."""
    seen = {"target_id": claim.seen_id, "target_tx": claim.seen_tx}
    return replace(claim.position, target=target, last_id=first, max_id=last, **seen)  # type: ignore[arg-type]


def _closed(window: Position) -> Position:
    """Where the cursor stands when the window is done."""
    done, floor = window.target or window.done, window.floor_id
    return Position(done, done_id=window.target_id, floor_id=floor, since_tx=window.target_tx)


def wishes(handler: Handler) -> dict[str, Any]:
    """The parameters of WANTED for a handler; the shard comes beside them."""
    watch: Sequence[str] | None = handler.subscription.watch
    return {
        "topic": handler.topic,
        "topics": [handler.topic],
        "handler": handler.name,
        "ops": list(handler.subscription.ops),
        "watch": None if watch is None else list(watch),
        "excludes": bool(handler.subscription.exclude),
    }


def parameters(handler: Handler, shard: int, window: Position, limit: int) -> dict[str, Any]:
    """What the reading queries are given."""
    return {
        **wishes(handler),
        "shards": handler.shards,
        "shard": shard,
        "done": window.done,
        "target": window.target,
        "last_id": window.last_id,
        "max_id": window.max_id,
        "limit": limit,
    }


def to_change(row: tuple[Any, ...], attempt: int = 1) -> Change:
    """One row of a reading query (id, at, topic, op, key, old, new, note, replay_of) as a change."""
    change = Change.__new__(Change)
    # Its own __init__ sets each field by a call, which takes as long as reading the row.
    change.__dict__.update(zip(FIELDS, row))  # noqa: B905  # the row has more, which is not the change's
    change.__dict__["attempt"] = attempt
    return change
