"""A stretch of a window, counted for the brake: what in it takes rows away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.declare.handler import Handler
from worker.log.cursors import Position
from worker.log.reader import WANTED, parameters

# A stretch of the window: so many of the topic's events after an id. Those of the window that the handler asked for are
# picked by their operation first, because looking into the rows of many is expensive.
STRETCH: LiteralString = """
with scanned as materialized (
    select * from hearken.events e
    where e.topic = %(topic)s and e.id > %(last_id)s and e.id <= %(max_id)s order by e.id limit %(most)s),
events as (
    select * from scanned e
    where pg_visible_in_snapshot(e.tx, %(target)s::pg_snapshot)
      and not pg_visible_in_snapshot(e.tx, %(done)s::pg_snapshot)),
"""
END: LiteralString = """,
(select coalesce(max(id), %(max_id)s) from scanned) as until, (select count(*) from scanned) as scanned
"""
OF_KIND: LiteralString = " e.op = any(%(kinds)s::text[]) "
# A snapshot without a row is one that a reconciliation has found missing. A replay was asked for by a person: whom it
# concerns was shown and counted (`hearken rebase` repeats events too, but those are new to their handler). What a
# person has let pass is not judged again.
GRAVE: LiteralString = """
    (op in ('delete', 'truncate') or (op = 'snapshot' and new is null)
     or (op = 'update' and coalesce(hearken.field(old, %(active)s::text), 'false') <> 'false'
         and coalesce(hearken.field(new, %(active)s::text), 'false') = 'false'))
    and not (replay_of is not null and coalesce(note ? 'replay', false))
    and not pg_visible_in_snapshot(tx, coalesce(
        (select b.passed from hearken.brakes b where b.handler = %(handler)s), %(done)s::pg_snapshot))
"""
COUNT: LiteralString = (
    STRETCH
    + """
gone as (
    select e.topic, e.key, bool_and(op = 'update') as archived, bool_or(op = 'truncate') as truncated
    from events e where """
    + OF_KIND
    + " and "
    + WANTED
    + " and "
    + GRAVE
    + """ group by e.topic, e.key)
select (select count(*) from gone where not archived and not truncated) as deleted,
       (select count(*) from gone where archived) as archived,
       (select coalesce(bool_or(truncated), false) from gone) as truncated"""
    + END
)
# For a level-triggered handler only the last of a key counts: a row that is back, or active again, is not gone.
REMAINING: LiteralString = (
    STRETCH
    + """
grave as materialized (select distinct e.topic, coalesce(e.key, '') as key from events e where """
    + OF_KIND
    + " and "
    + WANTED
    + " and "
    + GRAVE
    + """),
newest as (
    select distinct on (e.topic, coalesce(e.key, '')) op, new from events e where """
    + WANTED
    + """ and (e.topic, coalesce(e.key, '')) in (select g.topic, g.key from grave g)
    order by e.topic, coalesce(e.key, ''), e.id desc),
gone as (
    select * from newest
    where new is null
       or (%(active)s::text is not null and coalesce(hearken.field(new, %(active)s::text), 'false') = 'false'))
select (select count(*) from gone where op <> 'truncate' and new is null) as deleted,
       (select count(*) from gone where op <> 'truncate' and new is not null) as archived,
       (select coalesce(bool_or(op = 'truncate'), false) from gone) as truncated"""
    + END
)


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


@dataclass(frozen=True)
class Stretch:
    """A part of a window, as the brake sees it: what is too much, if anything; counts since the window began; up to
    which id it goes, and whether that is the window's end.
    """

    seen: Seen | None
    deleted: int
    archived: int
    until: int
    ends: bool


async def count_stretch(
    connection: AsyncConnection[Any], query: LiteralString, handler: Handler, window: Position, most: int, events: int
) -> Stretch:
    """So many events of the window, on top of what was counted before; `most` is what a window may hold."""
    active = handler.subscription.active
    kinds = ["delete", "truncate", "snapshot", *(["update"] if active else [])]
    asked = {**parameters(handler, 0, window, 0), "shards": 1, "active": active, "kinds": kinds, "most": events}
    async with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = await (await cursor.execute(query, asked)).fetchall()
    deleted, archived = window.deleted + row["deleted"], window.archived + row["archived"]
    ends = row["scanned"] < events
    until = window.max_id if ends else row["until"]
    return Stretch(Seen(deleted, archived, row["truncated"], most), deleted, archived, until, ends)
