"""What a handler is given beside its change: a connection, the row as it is now, resources, the effects ledger."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import structlog
from psycopg import sql
from psycopg.rows import DictRow

from worker.capture.catalog import Table, read_table
from worker.change import Change, Row
from worker.deliver import effects, runs
from worker.deliver.ownership import Ownership
from worker.deliver.plan import Plan, Planned
from worker.deliver.suspicion import Suspicion
from worker.errors import ConfigurationError, DeclarationError
from worker.postgres.database import Connection, Database
from worker.postgres.parameters import with_parameters

T = TypeVar("T")

# Seconds between two writes of a run's progress.
PROGRESS_EVERY = 0.5

ROW = sql.SQL("select * from {table} where {key}")


@dataclass
class Services:
    """What the process has for its handlers: filled by `app`, shared by all deliveries.

    lacking  resources that were not opened, and what is wrong with their settings: never in a worker
    suspicion  what is known of workers that died
    """

    database: Database
    resources: dict[Callable[..., Any], Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    lacking: Mapping[Callable[..., Any], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.suspicion = Suspicion(self.database)


class Context:
    """What one delivery has to work with.

    handler      the handler's name
    services     what the process has: for the engine's own functions, such as `reconcile`
    """

    def __init__(
        self,
        handler: str,
        services: Services,
        *,
        transaction: Connection | None = None,
        ownership: Ownership | None = None,
        plan: Plan | None = None,
    ) -> None:
        self.handler = handler
        self.services = services
        self._transaction = transaction
        self._ownership = ownership
        self._told_at: dict[int, float] = {}
        self._plan = plan

    @cached_property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A structlog logger; event id, handler, key and attempt are bound by the engine."""
        logger: structlog.stdlib.BoundLogger = structlog.get_logger(self.handler)
        return logger

    def __repr__(self) -> str:
        return f"Context(handler={self.handler!r})"

    def named(self, handler: str) -> Context:
        """A context of the same process for reading in another handler's name."""
        return Context(handler, self.services)

    @property
    def transaction(self) -> Connection:
        """The batch's transaction, for a transactional handler: what is written here commits with the cursor."""
        if self._transaction is None:
            raise DeclarationError(
                f"handler {self.handler!r} is external: use ctx.connection(), or declare transactional=True"
            )
        return self._transaction

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """A connection of its own, in autocommit, rows as dicts. What it writes makes no events for this handler."""
        return self.services.database.connection(origin=self.handler)

    async def row(self, change: Change) -> Row | None:
        """The change's row as it is now, by primary key; None when it is gone.

        Values as psycopg gives them; one that Python cannot hold, such as an infinite date, is its text.
        Raises DeclarationError for an event that is not about a row, such as a tick; RowsHidden, or WatchError when
        there is no such table any more: what cannot be seen is not gone.
        """
        table = self.services.tables.get(change.topic)
        if table is None:
            raise DeclarationError(
                f"handler {self.handler!r}: {change.topic} is not a table, so this {change.op} has no row for ctx.row:"
                " what it says is in change.new"
            )
        if change.key is None:
            return None
        if self._transaction is not None:
            return await _read_row(self._transaction, table, change)
        async with self.services.database.engine.connection() as connection:
            return await _read_row(connection, table, change)

    def use(self, resource: Callable[..., AsyncIterator[T]]) -> T:
        """The process-wide value of a `@resource` factory.

        Raises ConfigurationError in a command that runs without its settings.
        """
        if resource in self.services.lacking:
            raise ConfigurationError(self.services.lacking[resource])
        value: T = self.services.resources[resource]
        return value

    @property
    def planning(self) -> bool:
        """Whether this is a preview: a handler declared with `plans=True` then reads as usual, and instead of writing
        anything calls `plan` with what it would do outside.
        """
        return self._plan is not None

    def plan(self, action: str, effects: Iterable[Planned]) -> None:
        """Record what would be done outside, in a word ("create", "archive") and write by write."""
        if self._plan is None:
            raise DeclarationError(f"handler {self.handler!r} calls ctx.plan() outside a preview: check ctx.planning")
        self._plan.action = action
        self._plan.effects.extend(effects)

    def effect(
        self, change: Change, step: str, params: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[effects.Effect]:
        """Record one write to an outside system; see `effects`. Raises DeclarationError in a preview."""
        if self._plan is not None:
            raise DeclarationError(f"handler {self.handler!r} begins {step!r} in a preview: check ctx.planning first")
        return effects.record_effect(self.services.database, self.handler, change, step, params, self._ownership)

    async def progress(self, change: Change, done: int, total: int | None = None, text: str | None = None) -> None:
        """Report how far the run of a tick or request is, for whoever watches; stored at most twice a second."""
        now = time.monotonic()
        if now - self._told_at.get(change.id, 0.0) >= PROGRESS_EVERY or done == total:
            self._told_at[change.id] = now
            await runs.tell_progress(self.services.database, change.id, {"done": done, "total": total, "text": text})


def row_query(table: Table, key: str) -> tuple[sql.Composed, list[str]]:
    """The query that reads the row of that key."""
    values = table.split_key(key)
    conditions = sql.SQL(" and ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in table.key)
    query = ROW.format(table=sql.Identifier(table.schema, table.name), key=conditions)
    return with_parameters(query), values


async def _read_row(connection: Connection, table: Table, change: Change) -> DictRow | None:
    query, values = row_query(table, str(change.key))
    # Prepared, it would fail once the table has been given a column.
    row = await (await connection.execute(query, values, prepare=False)).fetchone()
    if row is None:
        await read_table(connection, change.topic)  # a view in the table's place may leave rows out
    return row
