"""Appending snapshot events: existing rows as the capture triggers would write them, for `backfill` and `reconcile`.

The newest event of a key must hold its newest state. So each row is locked in share mode before its event gets an id,
and until the event is committed: a writer who has changed the row, and has not committed, has its event before ours and
is skipped (`held`); one who comes later waits for the few milliseconds of a chunk, and its event gets a higher id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row
from psycopg.types.json import Json, Jsonb

from worker.capture.catalog import Table
from worker.capture.image import key_text, row_image
from worker.capture.triggers import TEXT_SETTINGS
from worker.doorbell.ring import ring
from worker.log.appending import begin_appending
from worker.postgres.parameters import with_parameters

# Parameters of one statement: Postgres counts them in 16 bits.
MOST_PARAMETERS = 60_000

APPEND = sql.SQL("""
with present as materialized (select * from {table} r where {these} for share {patience})
insert into hearken.events (topic, op, key, new, note, target)
select {topic}, 'snapshot', {key}, {row}, {note}, {target} from present r order by {order}
returning key
""")
# Plain reading: what of the rest is there, and was therefore held by a writer.
THERE = sql.SQL("select {key} as key from {table} r where {these}")
APPEND_GONE: LiteralString = """
insert into hearken.events (topic, op, key, old, note, target)
select %(topic)s, 'snapshot', g.key, g.known, %(note)s, %(target)s
from unnest(%(keys)s::text[], %(known)s::json[]) as g (key, known)
"""


@dataclass(frozen=True)
class Recipients:
    """Whom snapshot events are for (None: all subscribers), what is noted, and what never enters the log."""

    target: Sequence[str] | None
    note: Mapping[str, Any]
    hidden: frozenset[str]


@dataclass(frozen=True)
class Appended:
    """Keys whose event was appended; keys whose row a writer held; keys that have no row."""

    keys: list[str]
    held: list[str]
    gone: list[str]


async def write_as_triggers(connection: AsyncConnection[Any]) -> None:
    """Make this transaction write keys and rows as text the way the triggers do."""
    settings = [sql.SQL("set local ") + sql.SQL(setting) for setting in TEXT_SETTINGS]
    await connection.execute(sql.SQL("; ").join(settings))


async def append_snapshots(
    connection: AsyncConnection[Any], table: Table, keys: Sequence[str], to: Recipients, *, wait: bool = False
) -> Appended:
    """Append an event for the row of each key, in the caller's transaction, and ring the doorbell.

    wait  for rows that a writer holds, as long as `lock_timeout` says; only for a single key, or two could deadlock
    Raises psycopg.Error: LockNotAvailable; a DataError for a key that cannot be one of this table.
    """
    await begin_appending(connection)
    await write_as_triggers(connection)
    appended: list[str] = []
    there: list[str] = []
    most = MOST_PARAMETERS // len(table.key)
    for start in range(0, len(keys), most):
        part = keys[start : start + most]
        appended += await _keys(connection, _append(table, to, len(part), wait=wait), _values(table, part))
    if rest := sorted(set(keys) - set(appended)):
        there = await _keys(connection, _there(table, len(rest)), _values(table, rest))
    if appended:
        await ring(connection, [table.topic])
    return Appended(appended, there, sorted(set(keys) - set(appended) - set(there)))


async def append_gone(
    connection: AsyncConnection[Any], topic: str, known: Mapping[str, Mapping[str, Any] | None], to: Recipients
) -> None:
    """Append an event without a row for each key, in the caller's transaction: for a handler that reads the row itself.

    known  the last known values of the row that is gone, which the handler finds in `old`
    """
    documents = [None if values is None else Json(dict(values)) for values in known.values()]
    row = {"topic": topic, "keys": list(known), "known": documents, "note": Jsonb(dict(to.note))}
    await begin_appending(connection)
    await connection.execute(APPEND_GONE, {**row, "target": None if to.target is None else list(to.target)})
    await ring(connection, [topic])


def _append(table: Table, to: Recipients, count: int, *, wait: bool) -> sql.Composed:
    return APPEND.format(
        table=sql.Identifier(table.schema, table.name),
        these=_these(table, count),
        patience=sql.SQL("" if wait else "skip locked"),
        topic=sql.Literal(table.topic),
        key=key_text(table),
        row=row_image(table, set(to.hidden)),
        note=sql.Literal(Jsonb(dict(to.note))),
        target=sql.Literal(None if to.target is None else list(to.target)),
        order=sql.SQL(", ").join(sql.SQL("r.{}").format(sql.Identifier(column)) for column in table.key),
    )


def _there(table: Table, count: int) -> sql.Composed:
    return THERE.format(key=key_text(table), table=sql.Identifier(table.schema, table.name), these=_these(table, count))


def _these(table: Table, count: int) -> sql.Composed:
    """`(r.a, r.b) in ((%s, %s), …)`: the values are sent as text, and take the types of their columns."""
    columns = sql.SQL(", ").join(sql.SQL("r.{}").format(sql.Identifier(column)) for column in table.key)
    one = sql.SQL("({})").format(sql.SQL(", ").join(sql.Placeholder() * len(table.key)))
    return sql.SQL("({}) in ({})").format(columns, sql.SQL(", ").join(one for _ in range(count)))


def _values(table: Table, keys: Sequence[str]) -> list[str]:
    return [value for key in keys for value in table.split_key(key)]


async def _keys(connection: AsyncConnection[Any], query: sql.Composed, values: list[str]) -> list[str]:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(with_parameters(query), values, prepare=False)
        found: list[str] = await cursor.fetchall()
    return found
