"""A worker in this process, and a client of its HTTP server: real requests on loopback, to a real database's worker."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
from aiohttp.typedefs import LooseHeaders
from pydantic_settings import BaseSettings

from tests.support.waiting import eventually
from worker.app import App, open_services
from worker.declare.registry import Registry
from worker.install.migrate import migrate
from worker.postgres.database import Connection, Database
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
WORKER = (sys.executable, "-m", "worker", "run")
THINGS = "create table if not exists things (id integer primary key, name text)"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def line(self, check: str) -> str:
        """The line of /readyz about one check."""
        (line,) = [line for line in self.text.splitlines() if line[4:].startswith(f"{check}:")]
        return line


@dataclass
class Served:
    """The worker (running in `work`), its URL, and who asks."""

    app: App
    work: asyncio.Task[None]
    url: str
    _session: aiohttp.ClientSession

    async def get(self, path: str, method: str = "GET", headers: LooseHeaders | None = None) -> Reply:
        """One request."""
        async with self._session.request(method, self.url + path, headers=headers) as response:
            return Reply(response.status, await response.text(), dict(response.headers))

    async def post(self, path: str, body: Any, headers: LooseHeaders | None = None) -> Reply:
        """One POST: of bytes as they are, of anything else as JSON."""
        sent: dict[str, Any] = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self._session.post(self.url + path, headers=headers, **sent) as response:
            return Reply(response.status, await response.text(), dict(response.headers))

    async def until(self, path: str, fits: Callable[[Reply], bool], seconds: float = 20) -> Reply:
        """Ask again, as a platform's probe does, until the reply fits."""
        return await eventually(lambda: self.get(path), f"reply of {path} that fits", seconds, fits=fits)

    async def until_ready(self) -> Reply:
        """Wait until every check is green."""
        return await self.until("/readyz", lambda reply: reply.status == 200)

    async def until_red(self, check: str, *words: str) -> str:
        """Wait until this check is red and its line has these words; returns the line."""

        def fits(reply: Reply) -> bool:
            line = reply.line(check)
            return reply.status == 503 and line.startswith("RED") and all(word in line for word in words)

        return (await self.until("/readyz", fits)).line(check)


def settings_for(url: str, **changed: Any) -> Settings:
    """Settings of a worker that listens on a free port of loopback."""
    values = {"DATABASE_URL": url, "PORT": 0, "HEARKEN_HOST": "127.0.0.1", "shutdown_timeout": 5}
    return Settings.model_validate({**values, **changed})


async def prepare(url: str, registry: Registry) -> None:
    """Make the table `things` and migrate for the registry's handlers."""
    connection = await Database(settings_for(url), application="hearken tests").connect()
    try:
        await prepare_by(connection, registry)
    finally:
        await connection.close()


async def prepare_by(connection: Connection, registry: Registry) -> None:
    """The same, by a connection that is there."""
    await connection.execute(THINGS)
    await migrate(connection, registry)


@asynccontextmanager
async def served(url: str, registry: Registry, *, prepared: bool = True, **changed: Any) -> AsyncIterator[Served]:
    """A worker for the registry's handlers, with `changed` settings; its database is prepared unless told not to."""
    if prepared:
        await prepare(url, registry)
    settings = settings_for(url, **changed)
    async with AsyncExitStack() as stack:
        every: dict[type[BaseSettings], Any] = {
            resource.settings: resource.settings() for resource in registry.resources
        }
        every[Settings] = settings
        services = await stack.enter_async_context(open_services(registry, every))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        app = App(registry, settings, services)
        work = asyncio.create_task(app.run())
        stack.push_async_callback(_end, app, work)
        await _first(app.http.started.wait(), work)
        yield Served(app, work, f"http://127.0.0.1:{app.http.port}", session)


async def _end(app: App, work: asyncio.Task[None]) -> None:
    app.stop()
    await work


async def _first(awaited: Coroutine[Any, Any, Any], work: asyncio.Task[None]) -> None:
    """Wait for it, unless the worker ends before: then raise why."""
    waiting = asyncio.create_task(awaited)
    await asyncio.wait({waiting, work}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if work.done():
        work.result()


async def execute(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """One statement as an application, committed; its rows, if any."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(statement.encode(), parameters)
        return await cursor.fetchall() if cursor.description else []


def program_environment(url: str, modules: str, **more: str) -> dict[str, str]:
    """The environment of WORKER: nothing of ours, this database and these modules."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEARKEN_", "STRIPE_", "PG"))}
    own = {"DATABASE_URL": url, "HEARKEN_HANDLERS": modules, "HEARKEN_HOST": "127.0.0.1", "PORT": "0"}
    return {**kept, **own, **more}
