"""A worker in this process, between its `surroundings` and whoever watches it: `command`, or a `demo`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from worker.app import App, open_services, read_all_settings
from worker.declare.registry import Registry
from worker.dev.ports import is_taken
from worker.dev.surroundings import Surroundings, surroundings
from worker.install.migrate import migrate
from worker.observe.checks import CheckResult
from worker.postgres.database import Database
from worker.settings import Settings
from worker.telemetry import logs

T = TypeVar("T")


@dataclass
class Running:
    """The worker, what it works on, and the task it works in."""

    app: App
    around: Surroundings
    work: asyncio.Task[None]

    async def meanwhile(self, doing: Awaitable[T]) -> T:
        """The result of `doing`, unless the worker fails first: then raises its error."""
        task = asyncio.ensure_future(doing)
        try:
            await asyncio.wait({task, self.work}, return_when=asyncio.FIRST_COMPLETED)
            if self.work.done():
                self.work.result()
            return await task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def checks(self) -> list[CheckResult]:
        """What the readiness checks of the outside systems say."""
        declared = {readiness.name for readiness in self.app.registry.checks}
        return [answer for answer in await self.app.health.answers() if answer.name in declared]

    def hurry(self) -> None:
        """Cancel what still runs; it runs again after the next start."""
        for consumer in self.app.consumers:
            consumer.cancel()


@asynccontextmanager
async def running(registry: Registry, folder: Path, *, throwaway: bool) -> AsyncIterator[Running]:
    """Start the surroundings, migrate, and start a worker, which is stopped at the end; it may not be ready yet.

    Raises ConfigurationError, EmbeddedPostgresError, DatabaseError, psycopg.OperationalError.
    """
    async with surroundings(registry, folder, throwaway=throwaway) as around:
        settings = read_all_settings(registry)
        settings[Settings] = _where_nobody_listens(settings[Settings], throwaway=throwaway)
        logs.configure(settings[Settings].log_level)
        await _migrate(settings[Settings], registry)
        async with open_services(registry, settings) as services:
            app = App(registry, settings[Settings], services)
            world = Running(app, around, asyncio.create_task(app.run()))
            try:
                yield world
            finally:
                app.stop()
                if throwaway:
                    world.hurry()
                await world.work


async def _migrate(settings: Settings, registry: Registry) -> None:
    connection = await Database(settings, application="hearken dev").connect()
    try:
        await migrate(connection, registry)
    finally:
        await connection.close()


def _where_nobody_listens(settings: Settings, *, throwaway: bool) -> Settings:
    """The settings with any free port (0) when the usual one is taken; what PORT says stays, except for a demo."""
    host, port = settings.address
    if throwaway:
        return settings.model_copy(update={"host": "127.0.0.1", "port": 0})
    if settings.port is None and is_taken(port):
        click.echo(f"Port {port} is taken: HTTP listens on another.")
        return settings.model_copy(update={"host": host, "port": 0})
    return settings
