"""Running what systems declare with `@reconciler`: finding drift, and telling it from what is still in flight.

mark (how far the handler is) → find → a key with an event since the mark, or a parked one, is in flight
→ the rest is drift → apply: its keys go through the log to the handler (`snapshots`)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg

from worker.capture.triggers import hidden_columns
from worker.declare.handler import Handler
from worker.declare.reconciler import Drift, Reconciler
from worker.declare.registry import Registry, registry
from worker.deliver.context import Context
from worker.errors import CheckFailed, InProgress, UsageError
from worker.log.snapshots import Recipients, append_gone, append_snapshots
from worker.operate.audit import Actor
from worker.operate.in_flight import mark, undelivered
from worker.outcomes import Outcome
from worker.postgres.database import Connection
from worker.postgres.locks import reconcile_lock

CHUNK = 500
TRY: LiteralString = "select pg_try_advisory_lock(%s) as free"


@dataclass
class Reconciled:
    """What was found, and what was done about it.

    drift      what differs and is not in flight
    in_flight  keys that differ, with events that the handler has not been given, or has parked to try again
    sent       keys that were sent to the handler
    unsent     keys that were not, though it could fix them: a writer held the row, or the table can have no such key
    """

    name: str
    handler: str
    drift: list[Drift] = field(default_factory=list)
    in_flight: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Drift]:
        """The drift that was not sent to the handler."""
        sent = set(self.sent)
        return [one for one in self.drift if not one.mendable or one.key not in sent]


def find_reconciler(name: str, declared: Registry = registry) -> Reconciler:
    """The reconciler of this name. Raises UsageError."""
    if name not in declared.reconcilers:
        known = ", ".join(sorted(declared.reconcilers)) or "none"
        raise UsageError(f"no such reconciler: {name}; known: {known}")
    return declared.reconcilers[name]


async def reconcile(
    name: str, ctx: Context, *, mend: Actor | None = None, rate: float | None = None, declared: Registry = registry
) -> Reconciled:
    """Compare everything, and write nothing; with `mend`, send what differs through the log to its handler.

    ctx   of whoever asks: a command, or a handler of a schedule
    mend  who fixes the drift, and why; rate: the most keys sent per second
    Raises UsageError, CheckFailed when the destination is unreachable, InProgress while another process does.
    """
    reconciler = find_reconciler(name, declared)
    handler = declared.handlers[reconciler.handler]
    async with _connected(ctx, reconciler, alone=mend is not None) as connection:
        before = await mark(connection, handler)
        found = await _find(reconciler, ctx)
        moving = await undelivered(connection, handler, before, {d.key for d in found if d.key is not None})
        result = Reconciled(name, handler.name, [d for d in found if d.key not in moving], sorted(moving))
        if mend is not None:
            sender = Sender(connection, ctx, handler, declared.handlers.values(), mend, rate)
            await sender.send(result)
    return result


@asynccontextmanager
async def _connected(ctx: Context, reconciler: Reconciler, *, alone: bool) -> AsyncIterator[Connection]:
    """A connection of its own; `alone`, nobody else fixes the same while it is open."""
    connection = await ctx.services.database.connect()
    try:
        if alone:
            row = await (await connection.execute(TRY, (reconcile_lock(reconciler.name),))).fetchone()
            if row is not None and not row["free"]:
                raise InProgress(f"another process is reconciling {reconciler.name}: wait for it, or stop it")
        yield connection
    finally:
        await connection.close()


async def _find(reconciler: Reconciler, ctx: Context) -> list[Drift]:
    try:
        async with aclosing(reconciler.find(ctx.named(reconciler.handler))) as finding:
            return [drift async for drift in finding]
    except Outcome as outcome:
        raise CheckFailed(f"{reconciler.name} cannot be compared: {outcome.reason}") from None


class Sender:
    """Sends keys to one handler, in chunks: each is a transaction, and what it sent is in flight from then on."""

    def __init__(
        self,
        connection: Connection,
        ctx: Context,
        handler: Handler,
        declared: Iterable[Handler],
        actor: Actor,
        rate: float | None,
    ) -> None:
        self._connection = connection
        self._table = ctx.services.tables[handler.topic]
        self._rate = rate
        hidden = hidden_columns(self._table, [h.subscription for h in declared if h.topic == self._table.topic])
        self._to = Recipients([handler.name], {"reconcile": actor.note}, frozenset(hidden))

    async def send(self, result: Reconciled) -> None:
        """Send what the handler can fix; `result` says of each key whether it was sent."""
        known = {d.key: d.known for d in result.drift if d.mendable and d.key is not None}
        keys = sorted(known)
        size = CHUNK if self._rate is None else max(1, min(CHUNK, int(self._rate)))
        for start in range(0, len(keys), size):
            part = {key: known[key] for key in keys[start : start + size]}
            if start and self._rate is not None:
                await asyncio.sleep(size / self._rate)
            await self._send_some(part, result)

    async def _send_some(self, known: Mapping[str, Mapping[str, Any] | None], result: Reconciled) -> None:
        try:
            async with self._connection.transaction():
                appended = await append_snapshots(self._connection, self._table, list(known), self._to)
                gone = {key: known[key] for key in appended.gone}
                if gone:
                    await append_gone(self._connection, self._table.topic, gone, self._to)
        except psycopg.DataError:  # a key from outside that the table's type cannot be
            if len(known) == 1:
                result.unsent += known
                return
            for key, values in known.items():
                await self._send_some({key: values}, result)
            return
        result.sent += [*appended.keys, *gone]
        result.unsent += appended.held
