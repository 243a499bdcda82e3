"""The worker process: the one place that wires the parts together, starts them, and ends them in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog
from pydantic_settings import BaseSettings
from tenacity import AsyncRetrying, RetryCallState, wait_random_exponential

from worker.capture.catalog import read_table
from worker.declare.builtin import CANARY
from worker.declare.extensions import Factory
from worker.declare.registry import Registry
from worker.deliver import runs
from worker.deliver.consumer import Consumer
from worker.deliver.context import Services
from worker.doorbell.bell import Doorbell
from worker.http.endpoints import Endpoints
from worker.http.probes import Probes
from worker.http.server import HttpServer
from worker.install.migrate import require_migrated
from worker.install.privileges import require_rights
from worker.install.row_security import require_every_row
from worker.log.retention import Retention
from worker.observe.canary import Canary
from worker.observe.gauges import Gauges
from worker.observe.health import Health
from worker.postgres.database import Database
from worker.settings import Settings, read_settings
from worker.sources.ticker import Ticker
from worker.telemetry.error_line import error_line, trace_of
from worker.telemetry.logs import say_unhandled
from worker.telemetry.metrics import Metrics

logger = structlog.get_logger("app")

# Seconds to record unfinished work after the handlers' own time is up.
SETTLE_GRACE = 3.0
# Seconds after that until the process exits even if something hangs: a silent network, a handler that ignores
# its cancellation.
LAST_GRACE = 1.5
# New objects until the collector looks for cycles: a batch of a thousand events makes some ten thousand.
GARBAGE = 50_000


def read_all_settings(registry: Registry) -> dict[type[BaseSettings], Any]:
    """The engine's settings and those of every declared resource. Raises ConfigurationError."""
    return read_settings([Settings, *(resource.settings for resource in registry.resources)])


def application_name() -> str:
    """What `pg_stat_activity` shows, so that an operator sees which worker holds a cursor."""
    return f"hearken {socket.gethostname()[:40]}:{os.getpid()}"


@asynccontextmanager
async def open_services(
    registry: Registry,
    settings: dict[type[BaseSettings], Any],
    *,
    application: str | None = None,
    read_only: bool = False,
    lacking: Mapping[Factory, str] | None = None,
) -> AsyncIterator[Services]:
    """The database's pools and every declared resource, opened, and closed afterwards.

    application  what `pg_stat_activity` shows; a worker's name by default
    read_only    for a preview; see `Database`
    lacking      resources to leave out, because of what is wrong with their settings
    """
    async with AsyncExitStack() as stack:
        database = Database(settings[Settings], application=application or application_name(), read_only=read_only)
        await database.open()
        stack.push_async_callback(database.close)
        services = Services(database, lacking=lacking or {})
        for resource in registry.resources:
            if resource.factory in services.lacking:
                continue
            factory = asynccontextmanager(resource.factory)
            services.resources[resource.factory] = await stack.enter_async_context(
                factory(settings[resource.settings], database)
            )
        yield services


class App:
    """A running worker. `run()` returns after `stop()`, when everything is recorded."""

    def __init__(self, registry: Registry, settings: Settings, services: Services) -> None:
        self.registry = registry
        self.settings = settings
        self.services = services
        self.metrics = Metrics()
        self.ready = asyncio.Event()
        beats = settings.canary_seconds > 0 and CANARY.name in registry.engine
        heard = [*registry.handlers.values(), *([CANARY] if beats else ())]
        topics = {handler.topic for handler in heard}
        self.doorbell = Doorbell(services.database, sorted(topics), check_every=settings.listen_check)
        self.consumers = [
            Consumer(handler, shard, services, self.doorbell, settings, self.metrics)
            for handler in registry.handlers.values()
            for shard in range(handler.shards)
        ]
        self.not_ready_because: str | None = "starting"
        self._stop = asyncio.Event()
        self.health = Health(
            registry, settings, services, self.doorbell.listener, self.consumers, lambda: self.not_ready_because
        )
        self.canary = self._new_canary() if beats else None
        if self.canary is not None:
            self.health.add("canary", self.canary.check)
        gauges = Gauges(services.database, self.doorbell.listener, self.consumers)
        probes = Probes(self.health, self.metrics, gauges)
        routes = Endpoints(registry.handlers.values(), services.database, settings.cron_secret, self._stop)
        self.http = HttpServer(settings.address, [*probes.routes(), *routes.routes()])

    def _new_canary(self) -> Canary:
        consumer = Consumer(CANARY, 0, self.services, self.doorbell, self.settings, self.metrics)
        return Canary(application_name(), consumer, self.health.inspection, self.settings, self.metrics)

    def stop(self) -> None:
        """Start shutting down: claim no more work."""
        if not self._stop.is_set():
            logger.info("stopping", seconds=self.settings.shutdown_timeout)
        self._stop.set()
        self.not_ready_because = "stopping"
        for consumer in self.consumers:
            consumer.stop()
        if self.canary is not None:
            self.canary.stop()

    async def run(self) -> None:
        """Run until stopped. The database may be unreachable at any time, also at the start.

        Probes are answered throughout. Raises ConfigurationError when their address is not available.
        """
        await self.http.start()
        try:
            await self._work()
        finally:
            await self.http.stop()
            await self.health.close()

    async def _work(self) -> None:
        listening = asyncio.create_task(self.doorbell.run())
        starting = asyncio.create_task(self._prepare())
        stopped = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await self._consume()
        finally:
            for task in (listening, starting, stopped):
                task.cancel()
            await asyncio.gather(listening, starting, stopped, return_exceptions=True)

    async def _consume(self) -> None:
        tasks = [asyncio.create_task(consumer.run()) for consumer in self.consumers]
        if self.canary is not None:
            tasks.append(asyncio.create_task(self.canary.run()))
        database, handlers = self.services.database, self.registry.handlers.values()
        beside = [
            asyncio.create_task(Retention(database, self.settings.retention_days, also=[runs.sweep]).run()),
            asyncio.create_task(Ticker(database, handlers).run()),
        ]
        logger.info("working", handlers=sorted(self.registry.handlers))
        await self._stop.wait()
        for task in beside:
            task.cancel()
        if tasks:
            await self._end(tasks)
        await asyncio.gather(*beside, return_exceptions=True)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let handlers finish, then cancel them, then abandon whatever is left."""
        _, late = await asyncio.wait(tasks, timeout=self.settings.shutdown_timeout)
        if late:
            for consumer in [*self.consumers, *([self.canary.consumer] if self.canary is not None else ())]:
                consumer.cancel()
            _, late = await asyncio.wait(tasks, timeout=SETTLE_GRACE)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._say_goodbye()
        logger.info("stopped", cancelled=len(late))

    async def _say_goodbye(self) -> None:
        """So that nobody looks for the event that has ended this process."""
        try:
            await self.services.suspicion.end(self.doorbell.listener.worker)
        except Exception as error:
            logger.warning("could not say goodbye", reason=error_line(error))

    async def _prepare(self) -> None:
        """Wait until the database is reachable and migrated; read the watched tables."""
        retrying = AsyncRetrying(wait=wait_random_exponential(multiplier=0.2, max=1), before_sleep=self._not_ready)
        await retrying(self._read_tables)
        self.not_ready_because = None
        self.ready.set()

    async def _read_tables(self) -> None:
        connection = await self.services.database.connect()
        try:
            await require_rights(connection, self.registry.handlers.values())
            await require_every_row(connection, self.registry)
            await require_migrated(connection, self.registry)
            for handler in self.registry.handlers.values():
                if handler.is_table:
                    self.services.tables[handler.topic] = await read_table(connection, handler.topic)
            await self.services.suspicion.begin(connection, self.doorbell.listener.worker)
        finally:
            await connection.close()

    def _not_ready(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.not_ready_because = "starting" if error is None else error_line(error)
        tries, reason = state.attempt_number, self.not_ready_because
        logger.warning("not ready, retrying", tries=tries, reason=reason, exc_info=trace_of(error))


async def run(registry: Registry, settings: dict[type[BaseSettings], Any]) -> None:
    """Run a worker until SIGTERM or SIGINT, with the settings of `read_all_settings`."""
    async with open_services(registry, settings) as services:
        _spare_collections()
        app = App(registry, settings[Settings], services)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(say_unhandled)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: _stop_in_time(app, loop))
        await app.run()


def _spare_collections() -> None:
    """What is there at the start stays: it need not be gone through again for every thousandth event."""
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _stop_in_time(app: App, loop: asyncio.AbstractEventLoop) -> None:
    """Start shutting down; when the time is up, exit from a thread. A handler that blocks the loop blocks neither."""
    loop.call_soon_threadsafe(app.stop)
    last = threading.Timer(app.settings.shutdown_timeout + SETTLE_GRACE + LAST_GRACE, _leave)
    last.daemon = True
    last.start()


def _leave() -> None:
    """What was not settled was not committed: the next worker does it again."""
    logger.error("shutdown took too long: exiting now")
    os._exit(0)
