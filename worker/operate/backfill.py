"""Appending a snapshot event for every existing row of a table: by primary key in chunks, each a short transaction.

    read keys (read-only) → lock and append them (`snapshots`), remember the last key → … → rows that writers held

A chunk's events and the place it came to are committed together, so a backfill that was killed resumes where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors, sql
from psycopg.rows import dict_row, scalar_row

from worker.capture.catalog import Table
from worker.capture.image import key_text
from worker.capture.triggers import hidden_columns
from worker.declare.handler import Handler
from worker.errors import InProgress
from worker.log.snapshots import Appended, Recipients, append_snapshots, write_as_triggers
from worker.operate.audit import Actor
from worker.operate.where import MISTAKES, READ_ONLY, condition_sql, not_a_condition
from worker.postgres.locks import backfill_lock
from worker.postgres.parameters import with_parameters

KEYS = sql.SQL("select {key} as key from {table} r where {after} and {condition} order by {order} limit %s")
TRY: LiteralString = "select pg_try_advisory_lock(%s)"
# Keys are compared by the operators of their types, wherever those stand.
OPERATORS: LiteralString = """
select set_config('search_path', concat_ws(', ', nullif(current_setting('search_path'), ''),
                  string_agg(distinct quote_ident(n.nspname), ', ')), false)
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace n on n.oid = t.typnamespace
where a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass and a.attname = any(%s)
"""
COLUMNS: LiteralString = (
    "id, topic, condition, handlers, last_key, aside, passed, appended, by, started_at::text as started_at"
)
OPEN: LiteralString = (
    "select "
    + COLUMNS
    + """ from hearken.backfills
where topic = %(topic)s and condition is not distinct from %(condition)s
  and handlers is not distinct from %(handlers)s::text[] and ended_at is null
order by id desc limit 1
"""
)
BEGIN: LiteralString = (
    """
insert into hearken.backfills (topic, condition, handlers, by)
values (%(topic)s, %(condition)s, %(handlers)s, %(by)s) returning """
    + COLUMNS
)
MOVE: LiteralString = """
update hearken.backfills
set last_key = %(last_key)s, aside = %(aside)s, passed = %(passed)s, appended = %(appended)s, moved_at = now()
where id = %(id)s
"""
END: LiteralString = "update hearken.backfills set ended_at = now() where id = %s and ended_at is null"
ROW_LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '500ms'"

# Tells how far it is: rows passed, and rows that writers hold.
TellRows = Callable[[int, int], None]


@dataclass(frozen=True)
class BackfillRequest:
    """Which rows, for which handlers (None: all that watch the table), and who asks for it."""

    table: Table
    condition: str | None
    handlers: Sequence[str] | None
    actor: Actor


@dataclass(frozen=True)
class Backfill:
    """One backfill, as far as it is committed.

    last_key  rows up to here, in the order of the primary key, have been read; None before the first
    aside     keys of rows that a writer held: done last
    passed    rows read; `appended` events (fewer: rows deleted meanwhile)
    """

    id: int
    topic: str
    condition: str | None
    handlers: list[str] | None
    last_key: str | None
    aside: list[str]
    passed: int
    appended: int
    by: str
    started_at: str

    @property
    def resumed(self) -> bool:
        """Whether it resumes earlier work."""
        return self.last_key is not None


async def lock_backfill(
    connection: AsyncConnection[Any], request: BackfillRequest, *, restart: bool = False
) -> Backfill | None:
    """Lock this backfill until the connection closes; returns the unfinished one to resume, if there is one.

    restart  gives up the unfinished one. Raises InProgress while another process runs the same.
    """
    async with connection.cursor(row_factory=scalar_row) as cursor:
        target = None if request.handlers is None else list(request.handlers)
        await cursor.execute(TRY, (backfill_lock(request.table.topic, request.condition, target),))
        (free,) = await cursor.fetchall()
    if not free:
        raise InProgress(f"another process runs this backfill of {request.table.topic}: wait for it, or stop it")
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(OPEN, _facts(request))).fetchone()
        if row is not None and restart:
            await cursor.execute(END, (row["id"],))
            row = None
    return Backfill(**row) if row else None


async def begin_backfill(connection: AsyncConnection[Any], request: BackfillRequest) -> Backfill:
    """A new backfill, before its first row."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(BEGIN, _facts(request))).fetchone()
    assert row is not None  # noqa: S101  # an insert returns its row
    return Backfill(**row)


def _facts(request: BackfillRequest) -> dict[str, Any]:
    handlers = None if request.handlers is None else list(request.handlers)
    return {"topic": request.table.topic, "condition": request.condition, "handlers": handlers, "by": request.actor.by}


class Filler:
    """Carries out a backfill on a connection of its own. `handlers`: all that are declared for the table.

    Who asked for it, and why, is in the note of each event, also where it resumes what somebody else began.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        backfill: Backfill,
        request: BackfillRequest,
        handlers: Iterable[Handler],
    ) -> None:
        self.backfill = backfill
        self._connection = connection
        self._table = request.table
        hidden = hidden_columns(request.table, [handler.subscription for handler in handlers])
        note = {"backfill": {"id": backfill.id, **request.actor.note}}
        self._to = Recipients(backfill.handlers, note, frozenset(hidden))

    async def run(self, *, chunk: int, rate: float | None, tell: TellRows) -> None:
        """Run until every row has its event; at most `rate` rows a second. May be cancelled between any two chunks.

        Raises UsageError for a condition that fails on some row, psycopg.Error.
        """
        await self._connection.execute(OPERATORS, (self._table.schema, self._table.name, list(self._table.key)))
        size = chunk if rate is None else max(1, min(chunk, int(rate)))
        loop = asyncio.get_running_loop()
        began, before = loop.time(), self.backfill.passed
        while keys := await self._next(size):
            await self._chunk(keys)
            tell(self.backfill.passed, len(self.backfill.aside))
            if rate is not None:
                await asyncio.sleep(began + (self.backfill.passed - before) / rate - loop.time())
        while self.backfill.aside:
            await self._settle(self.backfill.aside[0])
            tell(self.backfill.passed, len(self.backfill.aside))
        await self._connection.execute(END, (self.backfill.id,))

    async def _next(self, size: int) -> list[str]:
        """The keys after the last one, read in a transaction that cannot write."""
        after, values = self._after()
        query = KEYS.format(
            key=key_text(self._table),
            table=sql.Identifier(self._table.schema, self._table.name),
            after=after,
            condition=condition_sql(self.backfill.condition),
            order=_columns(self._table),
        )
        try:
            async with self._connection.transaction(), self._connection.cursor(row_factory=scalar_row) as cursor:
                await cursor.execute(READ_ONLY)
                await write_as_triggers(self._connection)
                found: list[str] = await (await cursor.execute(with_parameters(query), [*values, size])).fetchall()
        except errors.InsufficientPrivilege:
            raise  # what one may not see says nothing of the condition
        except MISTAKES as error:
            raise not_a_condition(error) from None
        return found

    def _after(self) -> tuple[sql.Composable, list[str]]:
        if self.backfill.last_key is None:
            return sql.SQL("true"), []
        values = self._table.split_key(self.backfill.last_key)
        marks = sql.SQL(", ").join(sql.Placeholder() * len(values))
        return sql.SQL("({}) > ({})").format(_columns(self._table), marks), values

    async def _chunk(self, keys: Sequence[str]) -> None:
        async with self._connection.transaction():
            appended = await append_snapshots(self._connection, self._table, keys, self._to)
            then = await self._move(keys[-1], len(keys), appended, [*self.backfill.aside, *appended.held])
        self.backfill = then

    async def _settle(self, key: str) -> None:
        """Append a row that a writer held, if it is free by now; otherwise it goes behind the others."""
        rest = [other for other in self.backfill.aside if other != key]
        try:
            async with self._connection.transaction():
                await self._connection.execute(ROW_LOCK_TIMEOUT)
                appended = await append_snapshots(self._connection, self._table, [key], self._to, wait=True)
                then = await self._move(self.backfill.last_key, 0, appended, rest)
        except errors.LockNotAvailable:
            then = replace(self.backfill, aside=[*rest, key])
        self.backfill = then

    async def _move(self, last_key: str | None, passed: int, appended: Appended, aside: list[str]) -> Backfill:
        """Record the progress in the chunk's transaction."""
        then = replace(
            self.backfill,
            last_key=last_key,
            aside=aside,
            passed=self.backfill.passed + passed,
            appended=self.backfill.appended + len(appended.keys),
        )
        await self._connection.execute(MOVE, asdict(then))
        return then


def _columns(table: Table) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("r.{}").format(sql.Identifier(column)) for column in table.key)
