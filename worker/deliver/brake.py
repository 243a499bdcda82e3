"""The brake: looks ahead in a window before a batch is delivered, and stops a handler that would take too much away.

Half a catalogue deleted or switched off at once is more often a mistake than intended, and what an external handler
does about it cannot be rolled back. A window that is read whole is counted in memory, and nearly always holds too few
to matter; any other is looked at a stretch at a time, ahead of its batches, and the cursor keeps the counts. All events
of the topic are judged, not only the shard's part of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row

from worker.change import Change
from worker.declare.handler import Handler
from worker.deliver.stretch import COUNT, REMAINING, Seen, Stretch, count_stretch
from worker.errors import NotAllowed
from worker.log.cursors import Position
from worker.log.reader import Batch
from worker.postgres.parameters import with_parameters

# A table of fewer rows may lose most of them; so with fewer rows gone than this, half of a table is never reached.
SMALL_TABLE = 20
FEWEST = SMALL_TABLE // 2 + 1
# Events of a window that are looked at before the first of them is delivered; and, for a level-triggered handler, when
# too many seem to be gone.
LOOK_AHEAD = 5_000
LOOK_AHEAD_AT_MOST = 320_000

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


async def judge(
    connection: AsyncConnection[Any], handler: Handler, batch: Batch, most: int
) -> tuple[Seen | None, Batch]:
    """What the window of this batch would take too much of, as far as one looks ahead; None when the handler may go on.

    And the batch, whose cursor remembers how far that was. Raises NotAllowed when the role may not count the table's
    rows.
    """
    end = batch.then.last_id if batch.then.target is not None else batch.within.max_id
    judged = max(batch.within.judged_id, batch.within.last_id)
    if not _watched_over(handler) or end <= batch.within.judged_id or not _suspicious(handler, batch, most):
        return None, batch
    window, events = replace(batch.within, last_id=judged), LOOK_AHEAD
    while True:
        stretch = await _look(connection, handler, window, most, events)
        if stretch.seen is not None and handler.fold and not stretch.ends and events < LOOK_AHEAD_AT_MOST:
            events *= 4  # what is gone here may be back further on
        elif stretch.seen is not None or stretch.until >= end:
            return stretch.seen, _with_judgement(batch, stretch)
        else:
            window = replace(window, last_id=stretch.until, deleted=stretch.deleted, archived=stretch.archived)


async def _look(
    connection: AsyncConnection[Any], handler: Handler, window: Position, most: int, events: int
) -> Stretch:
    """So many events of the window, on top of what was counted before."""
    for query in (COUNT, REMAINING) if handler.fold else (COUNT,):
        stretch = await count_stretch(connection, query, handler, window, most, events)
        if stretch.seen is None or (seen := await _too_much(connection, handler, stretch.seen)) is None:
            return replace(stretch, seen=None)
        stretch = replace(stretch, seen=seen)
    return stretch


def _with_judgement(batch: Batch, stretch: Stretch) -> Batch:
    def with_it(at: Position) -> Position:
        return replace(at, judged_id=stretch.until, deleted=stretch.deleted, archived=stretch.archived)

    then = batch.then if batch.then.target is None else with_it(batch.then)
    return replace(batch, within=with_it(batch.within), then=then)


async def stop_handler(connection: AsyncConnection[Any], handler: str, batch: Batch, seen: Seen) -> None:
    """Stop the handler before it delivers anything of what was looked at."""
    about = {**asdict(seen), "handler": handler, "target": batch.within.target, "reason": f"brake: {seen}"}
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
    """How many may take something away."""
    return sum(
        1
        for change in changes
        if change.op in ("delete", "truncate")
        or (change.op == "snapshot" and change.new_json is None)
        or (active is not None and change.op == "update" and _switched_off(change, active))
    )


def _switched_off(change: Change, active: str) -> bool:
    """Whether the column may have turned false or null. The row is only taken apart when its text says so."""
    written, column = change.new_json or "", json.dumps(active, ensure_ascii=False)
    if column in written and f"{column}:false" not in written and f"{column}:null" not in written:
        return False
    return active in (change.old or {})


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
