"""A worker running in this process, for measurements that need it to sleep and wake as in production."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog
from pydantic_settings import BaseSettings

from worker.app import App, open_services
from worker.declare.registry import Registry
from worker.install.migrate import migrate
from worker.settings import Settings


@asynccontextmanager
async def working(
    url: str, registry: Registry, more: Mapping[type[BaseSettings], BaseSettings] | None = None, **changed: object
) -> AsyncIterator[App]:
    """Migrate, start a worker with the registry's handlers and `changed` settings, and stop it afterwards."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = Settings.model_validate({"DATABASE_URL": url, "PORT": 0, "HEARKEN_HOST": "127.0.0.1", **changed})
    async with open_services(registry, {Settings: settings, **(more or {})}) as services:
        connection = await services.database.connect()
        await migrate(connection, registry)
        await connection.close()
        app = App(registry, settings, services)
        running = asyncio.create_task(app.run())
        await app.ready.wait()
        try:
            yield app
        finally:
            app.stop()
            await running
