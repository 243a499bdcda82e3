"""The brake: looks at a window before its first batch is delivered, and stops a handler that would take too much away.

Half a catalogue deleted or switched off at once is more often a mistake than intended, and what an external handler
does about it cannot be rolled back. A window that is read whole is counted in memory, and nearly always holds too few
to matter; any other costs one query more. The whole window of the topic is judged, not only the shard's part of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row, scalar_row

from worker.change import Change
from worker.declare.handler import Handler
from worker.errors import NotAllowed
from worker.log.cursors import Position
from worker.log.reader import WANTED, Batch, parameters
from worker.postgres.parameters import with_parameters

# A table of fewer rows may lose most of them; so with fewer rows gone than this, half of a table is never reached.
SMALL_TABLE = 20
FEWEST = SMALL_TABLE // 2 + 1

# The window's events that the handler asked for, by the index; those that matter are picked by their operation first,
# because looking into the rows of a large window is expensive.
EVENTS: LiteralString = """
from unnest(%(topics)s::text[]) t (topic) cross join lateral (
    select * from hearken.events e
    where e.topic = t.topic and e.id > %(last_id)s and e.id <= %(max_id)s
      and pg_visible_in_snapshot(e.tx, %(target)s::pg_snapshot)
      and not pg_visible_in_snapshot(e.tx, %(done)s::pg_snapshot)
"""
ASKED_FOR: LiteralString = " order by e.id) e where " + WANTED
OF_KIND: LiteralString = " and e.op = any(%(kinds)s::text[]) "
# A snapshot without a row is one that a reconciliation has found missing. A replay was asked for by a person: whom it
# concerns was shown and counted (`hearken rebase` repeats events too, but those are new to their handler). What a
# person has let pass is not judged again.
GRAVE: LiteralString = """
    (op in ('delete', 'truncate') or (op = 'snapshot' and new is null)
     or (op = 'update' and coalesce(hearken.member(old, %(active)s::text), 'false') <> 'false'
         and coalesce(hearken.member(new, %(active)s::text), 'false') = 'false'))
    and not (replay_of is not null and coalesce(note ? 'replay', false))
    and not pg_visible_in_snapshot(tx, coalesce(
        (select b.passed from hearken.brakes b where b.handler = %(handler)s), %(done)s::pg_snapshot))
"""
COUNT: LiteralString = (
    """
select count(*) filter (where not archived and not truncated) as deleted, count(*) filter (where archived) as archived,
       coalesce(bool_or(truncated), false) as truncated
from (select e.topic, e.key, bool_and(op = 'update') as archived, bool_or(op = 'truncate') as truncated
    """
    + EVENTS
    + OF_KIND
    + ASKED_FOR
    + " and "
    + GRAVE
    + " group by e.topic, e.key) k"
)
# For a level-triggered handler only the last of a key counts: a row that is back, or active again, is not gone.
REMAINING: LiteralString = (
    "with grave as materialized (select distinct e.topic, coalesce(e.key, '') as key"
    + EVENTS
    + OF_KIND
    + ASKED_FOR
    + " and "
    + GRAVE
    + """),
newest as (select distinct on (e.topic, coalesce(e.key, '')) op, new"""
    + EVENTS
    + ASKED_FOR
    + """ and (e.topic, coalesce(e.key, '')) in (select g.topic, g.key from grave g)
           order by e.topic, coalesce(e.key, ''), e.id desc)
select count(*) filter (where op <> 'truncate' and new is null) as deleted,
       count(*) filter (where op <> 'truncate' and new is not null) as archived,
       coalesce(bool_or(op = 'truncate'), false) as truncated
from newest
where new is null
   or (%(active)s::text is not null and coalesce(hearken.member(new, %(active)s::text), 'false') = 'false')
"""
)
# When two shards see too much at once, what the first has seen stands.
STOP: LiteralString = """
with braked as (
    insert into hearken.brakes (handler, target, deleted, archived, truncated, of_rows, most)
    values (%(handler)s, %(target)s, %(deleted)s, %(archived)s, %(truncated)s, %(of_rows)s, %(most)s)
    on conflict (handler) do update
    set at = now(), target = excluded.target, deleted = excluded.deleted, archived = excluded.archived,
        truncated = excluded.truncated, of_rows = excluded.of_rows, most = excluded.most, released_at = null
    where hearken.brakes.released_at is not null)
insert into hearken.paused (handler, by, reason) values (%(handler)s, 'hearken', %(reason)s)
on conflict (handler) do nothing
"""
RIGHTS: LiteralString = "select has_table_privilege(to_regclass(format('%%I.%%I', %s::text, %s::text)), 'select')"
ROWS = sql.SQL("select count(*) from (select from {} limit %s) r")


@dataclass(frozen=True)
class Seen:
    """What was too much: rows deleted, rows archived (their active column turned false or null), or a TRUNCATE.

    of_rows  how many rows the table had, when more than half of them is the reason
    most     how many a window may hold
    """

    deleted: int
    archived: int
    truncated: bool
    most: int
    of_rows: int | None = None

    @property
    def gone(self) -> int:
        return self.deleted + self.archived

    def __str__(self) -> str:
        parts = ["a TRUNCATE"] if self.truncated else []
        parts += [f"{self.deleted:,} deleted"] if self.deleted else []
        parts += [f"{self.archived:,} archived"] if self.archived else []
        reason = f"more than {self.most:,}" if self.of_rows is None else f"of a table of {self.of_rows:,} rows"
        return f"{' and '.join(parts)} in one window" + ("" if self.truncated else f", {reason}")


async def judge_window(connection: AsyncConnection[Any], handler: Handler, batch: Batch, most: int) -> Seen | None:
    """What the window that this batch opens would take too much of; None when the handler may go on.

    Raises NotAllowed when the role may not count the table's rows.
    """
    window = batch.opened
    if window is None or not _watched_over(handler) or not _suspicious(handler, batch, most):
        return None
    seen = None
    for query in (COUNT, REMAINING) if handler.fold else (COUNT,):
        seen = await _too_much(connection, handler, await _count(connection, query, handler, window, most))
        if seen is None:
            break
    return seen


async def stop_handler(connection: AsyncConnection[Any], handler: str, batch: Batch, seen: Seen) -> None:
    """Stop the handler before it delivers anything from the window that the batch opens."""
    assert batch.opened is not None  # noqa: S101  # only such a batch is judged
    about = {**asdict(seen), "handler": handler, "target": batch.opened.target, "reason": f"brake: {seen}"}
    await connection.execute(STOP, about)


def _watched_over(handler: Handler) -> bool:
    return handler.brake and handler.is_table and not handler.transactional


def _suspicious(handler: Handler, batch: Batch, most: int) -> bool:
    """Whether the window may hold too much, as far as its events in memory tell."""
    if batch.whole is None or any(change.op == "truncate" for change in batch.changes):
        return True
    fewest = min(FEWEST, most + 1)
    if batch.whole < fewest:
        return False
    return handler.shards > 1 or _suspects(batch.changes, handler.subscription.active) >= fewest


def _suspects(changes: Sequence[Change], active: str | None) -> int:
    """How many may take something away. `old` names the columns that differ, in the words of the trigger."""
    column = None if active is None else json.dumps(active)
    return sum(
        1
        for change in changes
        if change.op in ("delete", "truncate")
        or (change.op == "snapshot" and change.new_json is None)
        or (column is not None and change.op == "update" and column in (change.old_json or ""))
    )


async def _count(
    connection: AsyncConnection[Any], query: LiteralString, handler: Handler, window: Position, most: int
) -> Seen:
    active = handler.subscription.active
    kinds = ["delete", "truncate", "snapshot", *(["update"] if active else [])]
    whole = {**parameters(handler, 0, window, 0), "shards": 1, "active": active, "kinds": kinds}
    async with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = await (await cursor.execute(query, whole)).fetchall()
    return Seen(**row, most=most)


async def _too_much(connection: AsyncConnection[Any], handler: Handler, seen: Seen) -> Seen | None:
    """The same when it is too much. The table is counted no further than it takes to know."""
    if seen.truncated or seen.gone > seen.most:
        return seen
    if seen.gone < FEWEST:
        return None
    enough = 2 * seen.gone - seen.deleted  # with this many left, at most half are gone
    left = await _rows(connection, handler.topic, enough)
    before = left + seen.deleted
    return replace(seen, of_rows=before) if left < enough and before >= SMALL_TABLE else None


async def _rows(connection: AsyncConnection[Any], topic: str, limit: int) -> int:
    """How many rows the table has, counted up to a limit; none when it is not there any more."""
    schema, _, name = topic.partition(".")
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (allowed,) = await (await cursor.execute(RIGHTS, (schema, name))).fetchall()
        if allowed is None:
            return 0
        if not allowed:
            raise NotAllowed(
                f"the brake must count the rows of {topic}: as its owner, run: grant select on {topic} to the role of"
                " DATABASE_URL"
            )
        await cursor.execute(with_parameters(ROWS.format(sql.Identifier(schema, name))), (limit,))
        (rows,) = await cursor.fetchall()
    return int(rows)
