"""Endpoints for tests, a worker that serves them, and a client that asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tests.support.served import Reply, Served, served
from worker import Change, Context
from worker.declare.registry import Registry
from worker.postgres.database import Database

SECRET = "correct-horse-battery-staple"
ECHO = "/api/echo"


class Wanted(BaseModel):
    """What the endpoints of the tests are asked."""

    model_config = ConfigDict(extra="forbid")

    batch_size: int = Field(20, alias="batchSize", ge=1, le=1000)
    word: str | None = None


class Told(BaseModel):
    """What they answer."""

    said: str | None
    size: int


class Query(BaseModel):
    """What a GET asks for."""

    model_config = ConfigDict(extra="forbid")

    word: str


@dataclass
class Endpoints:
    """Declared endpoints: `echo` answers; what it raises, once, is in `raises`; it waits for `gate`."""

    registry: Registry = field(default_factory=Registry)
    raises: list[Exception] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def declare(self, path: str = ECHO, name: str = "echo", **options: Any) -> Endpoints:
        """Declare one more endpoint that does the same."""

        async def answer(change: Change, ctx: Context) -> Told:
            """Say it again."""
            self.bodies.append(change.new)
            self.called.set()
            await self.gate.wait()
            if self.raises:
                raise self.raises.pop(0)
            asked = Wanted.model_validate(change.new)
            return Told(said=asked.word, size=asked.batch_size)

        answer.__name__ = f"answer_{name}"
        self.registry.endpoint(name, path=path, **{"body": Wanted, "rate": 1_000_000, **options})(answer)
        return self


async def read(query: Query, database: Database) -> dict[str, str]:
    """What a GET answers."""
    return {"word": query.word}


class Asker:
    """Asks a served worker, with the secret unless told otherwise."""

    def __init__(self, worker: Served) -> None:
        self.worker = worker

    async def post(
        self, body: Any = None, path: str = ECHO, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST a body as JSON."""
        sent = {"Authorization": f"Bearer {SECRET}", **(headers or {})}
        return await self.worker.post(path + query, {} if body is None else body, sent)

    async def get(self, path: str) -> Reply:
        """GET with the secret."""
        return await self.worker.get(path, headers={"Authorization": f"Bearer {SECRET}"})


@asynccontextmanager
async def asking(url: str, endpoints: Endpoints, **settings: Any) -> AsyncIterator[Asker]:
    """A ready worker that serves the endpoints, in this process."""
    async with served(url, endpoints.registry, **{"CRON_SECRET": SECRET, **settings}) as worker:
        await worker.until_ready()
        yield Asker(worker)
