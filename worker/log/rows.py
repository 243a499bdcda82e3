"""The rows of events that come without them: large ones, and any where one may be unreadable. After `reader`.

They are fetched a few at a time, and no more than a batch may hold in memory: a row of 4 MB may stand beside a hundred
others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from worker.change import Change
from worker.declare.handler import Handler
from worker.log.reader import WANTED, Batch, wishes

LOAD: LiteralString = (
    """
select id, old::text, new::text, note::text from hearken.events
where topic = any(%(among)s) and id = any(%(ids)s) and at between %(since)s and %(until)s and (not %(judge)s or """
    + WANTED
    + ") order by id"
)

Rows = tuple[str | None, str | None, str | None]
"""Old, new and note, as JSON."""


@dataclass(frozen=True)
class Readings:
    """How rows are to be read.

    budget     how many bytes of them to hold at most; a single row may have more
    is_of_row  with each row read by itself: whether an error says that just this one cannot be read
    judge      look only now whether the handler asked for the event, since nothing was looked into before
    """

    budget: int
    is_of_row: Callable[[Exception], bool] | None = None
    judge: bool = False


@dataclass
class Loaded:
    """Changes with their rows, in order. `unreadable`: by event, why its rows are not there. cut: there are more."""

    changes: list[Change] = field(default_factory=list)
    unreadable: dict[int, Exception] = field(default_factory=dict)
    cut: bool = False


async def load_batch(
    connection: AsyncConnection[Any], handler: Handler, batch: Batch, how: Readings
) -> tuple[Batch, Mapping[int, Exception]]:
    """The batch with all its rows, or the first part of it that fits; and of which events they cannot be read."""
    if not batch.heavy:
        return batch, {}
    loaded = await load(connection, handler, batch.changes, batch.heavy, how)
    if not loaded.cut:
        return replace(batch, changes=loaded.changes), loaded.unreadable
    then = replace(batch.within, last_id=loaded.changes[-1].id)
    return replace(batch, changes=loaded.changes, then=then, whole=None), loaded.unreadable


async def load(
    connection: AsyncConnection[Any],
    handler: Handler,
    changes: Sequence[Change],
    heavy: Mapping[int, int],
    how: Readings,
) -> Loaded:
    """Fill in the rows of the `heavy` changes, until the budget is used up; the changes after that are left out."""
    found = Loaded()
    size = 0
    for part in _parts(changes, heavy, 0 if how.is_of_row else how.budget):
        if size >= how.budget:
            found.cut = True
            break
        missing = [change.id for change in part if change.id in heavy]
        rows = await _read(connection, handler, part, missing, how, found) if missing else {}
        for change in part:
            whole = _with_rows(change, rows.get(change.id))
            if change.id not in heavy or change.id in rows or change.id in found.unreadable:
                found.changes.append(whole)
                size += _size(whole)
    return found


def _parts(changes: Sequence[Change], heavy: Mapping[int, int], most: int) -> Iterator[list[Change]]:
    """Changes in order, in parts whose rows weigh no more than that together, or are those of one change."""
    part: list[Change] = []
    weight = 0
    for change in changes:
        weight += heavy.get(change.id, 0)
        if part and weight > most:
            yield part
            part, weight = [], heavy.get(change.id, 0)
        part.append(change)
    if part:
        yield part


async def _read(
    connection: AsyncConnection[Any], handler: Handler, part: list[Change], ids: list[int], how: Readings, found: Loaded
) -> dict[int, Rows]:
    asked = {**wishes(handler), **_place(part), "ids": ids, "judge": how.judge, "shards": 1, "shard": 0}
    if how.is_of_row is None:
        return await _load(connection, asked)
    try:
        async with connection.transaction():
            return await _load(connection, asked)
    except Exception as error:
        if not how.is_of_row(error):
            raise
        found.unreadable[ids[0]] = error
        return {}


def _place(part: Sequence[Change]) -> dict[str, Any]:
    """Where in the log they are, so that no other day's partition is looked into."""
    times = [change.at for change in part]
    return {"among": sorted({change.topic for change in part}), "since": min(times), "until": max(times)}


async def _load(connection: AsyncConnection[Any], asked: Mapping[str, Any]) -> dict[int, Rows]:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LOAD, asked)
        return {row[0]: row[1:] for row in await cursor.fetchall()}


def _with_rows(change: Change, rows: Rows | None) -> Change:
    if rows is None:
        return change
    old, new, note = rows
    return replace(change, old_json=old, new_json=new, note_json=note)


def _size(change: Change) -> int:
    return sum(len(text) for text in (change.old_json, change.new_json, change.note_json) if text is not None)
