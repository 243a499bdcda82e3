"""For authors of handlers: capture and deliver for real, on a real database, without a running worker.

async with bench(database_url, sync_room) as rooms:
    await rooms.execute("insert into rooms (name) values ('blue')")
    await rooms.drain()
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg.rows import DictRow

from worker.capture.catalog import read_table
from worker.declare.registry import Registry, registry
from worker.deliver.consumer import Consumer
from worker.deliver.context import Services
from worker.deliver.progress import Turn
from worker.deliver.runs import Run, find_run
from worker.doorbell.bell import Doorbell
from worker.errors import UsageError
from worker.install import migrations
from worker.install.migrate import migrate
from worker.postgres.database import Connection, Database
from worker.settings import Settings
from worker.sources.requests import append_request, sound
from worker.sources.timetable import append_ticks
from worker.telemetry.metrics import Metrics


class Bench:
    """A migrated database with triggers for some handlers, whose events are delivered when `drain` is called."""

    def __init__(self, connection: Connection, consumers: Sequence[Consumer]) -> None:
        self.connection = connection
        self.consumers = consumers

    async def execute(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[DictRow]:
        """Run a statement as the application would, committed at once; returns its rows, if any."""
        cursor = await self.connection.execute(query.encode(), parameters or None)
        return await cursor.fetchall() if cursor.description else []

    async def drain(self) -> int:
        """Deliver everything that is due now, and what comes of it; returns the number of batches."""
        batches = 0
        while done := sum([await self._drain(consumer) for consumer in self.consumers]):
            batches += done
        return batches

    @staticmethod
    async def _drain(consumer: Consumer) -> int:
        batches = 0
        # Like a worker, it skips a handler whose destination is down.
        while not consumer.circuit.wait() and await consumer.turn() in (Turn.WORKED, Turn.CAUGHT_UP):
            batches += 1
        return batches

    async def tick(self, name: str, due: datetime | None = None) -> None:
        """Append a tick of the schedule of that name as a worker does, due at that time (default: now).

        Raises UsageError for a name that none of the bench's handlers has, and for a time without a zone.
        """
        names = [c.handler.schedule.name for c in self.consumers if c.handler.schedule is not None]
        if name not in names:
            raise UsageError(f"no such schedule: {name}; known: {', '.join(names) or 'none'}")
        time = datetime.now(UTC) if due is None else due
        if time.tzinfo is None:
            raise UsageError(f"due={time!r} has no time zone: write datetime(…, tzinfo=UTC)")
        async with self.connection.transaction():
            await append_ticks(self.connection, name, [time.astimezone(UTC)])

    async def request(self, name: str, body: Mapping[str, Any] | None = None) -> Run:
        """Ask the endpoint of that name as a POST does, and deliver; returns its run: `state`, `result`, ….

        Raises UsageError for a name that none of the bench's handlers has, pydantic.ValidationError for the body.
        """
        served = {c.handler.endpoint.name: c.handler for c in self.consumers if c.handler.endpoint is not None}
        if name not in served:
            raise UsageError(f"no such endpoint: {name}; known: {', '.join(served) or 'none'}")
        handler = served[name]
        assert handler.endpoint is not None  # noqa: S101  # chosen by it
        text = sound(handler.endpoint.body, json.dumps(body or {}))
        event_id = await append_request(self.connection, handler, text, source="cli", alone=handler.endpoint.alone)
        await self.drain()
        run = await find_run(self.connection, event_id)
        assert run is not None  # noqa: S101  # it was made with its event
        return run

    async def parked(self) -> list[DictRow]:
        """What has been parked: handler, event_id, key, state, attempt, reason, …"""
        return await self.execute("select * from hearken.parked order by handler, event_id")


@asynccontextmanager
async def bench(
    database_url: str,
    *handlers: Callable[..., Awaitable[Any]],
    resources: Mapping[Callable[..., Any], Any] | None = None,
    declared: Registry = registry,
) -> AsyncIterator[Bench]:
    """Deliver to `handlers` (functions declared with `@on`, `@every`, `@endpoint`) from the database at `database_url`.

    resources  what `ctx.use` gives for each `@resource` factory
    declared   where the handlers were declared
    Raises UsageError for a function that is not declared, and what `hearken migrate` raises.
    """
    chosen = _choose(declared, handlers)
    settings = Settings.model_validate({"DATABASE_URL": database_url})
    database = Database(settings, application="hearken testing")
    await database.open()
    connection = await database.connect()
    try:
        await migrations.apply(connection, migrations.find_migrations([]))
        await migrate(connection, chosen)
        services = Services(database, dict(resources or {}))
        for handler in chosen.handlers.values():
            if handler.is_table:
                services.tables[handler.topic] = await read_table(connection, handler.topic)
        doorbell = Doorbell(database, [], check_every=settings.listen_check)
        yield Bench(connection, _consumers(chosen, services, doorbell, settings))
    finally:
        await connection.close()
        await database.close()


def _choose(declared: Registry, functions: Sequence[Callable[..., Awaitable[Any]]]) -> Registry:
    chosen = Registry()
    chosen.handlers = {name: h for name, h in declared.handlers.items() if h.function in functions}
    found = [handler.function for handler in chosen.handlers.values()]
    if strangers := [function.__name__ for function in functions if function not in found]:
        raise UsageError(
            f"{', '.join(strangers)}: not declared with @on or @every (or not in the registry given as declared=)"
        )
    return chosen


def _consumers(chosen: Registry, services: Services, doorbell: Doorbell, settings: Settings) -> list[Consumer]:
    metrics = Metrics()
    return [
        Consumer(handler, shard, services, doorbell, settings, metrics)
        for handler in chosen.handlers.values()
        for shard in range(handler.shards)
    ]
