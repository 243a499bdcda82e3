"""A shop: a database with spaces, the local Stripe, and the handler between them, run by hand.

For tests of the handler alone; those of the whole way from a commit to Stripe run a worker.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from psycopg import sql

from handlers.spaces import sync_space
from handlers.stripe import Stripe, StripeSettings, stripe
from handlers.stripe.local import Call, LocalStripe
from worker.capture.catalog import read_table
from worker.change import Change, Op
from worker.deliver.context import Context, Services
from worker.outcomes import Retry, Unavailable
from worker.postgres.database import Database
from worker.settings import Settings

FAST = 0.001
"""Seconds between the tries of one call."""


def stripe_settings(server: LocalStripe, **changed: Any) -> StripeSettings:
    """Settings for the local Stripe: no pace to speak of, and a short timeout."""
    values = {"key": server.key, "api_base": server.url, "rps": 10_000, "timeout": 5.0}
    return StripeSettings.model_validate({**values, **changed})


@asynccontextmanager
async def open_database(url: str, **settings: str) -> AsyncIterator[Database]:
    """The engine's connections to `url`."""
    database = Database(Settings.model_validate({"DATABASE_URL": url, **settings}))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def open_stripe(settings: StripeSettings, database: Database) -> AsyncIterator[Stripe]:
    """A client whose retries follow each other at once."""
    client = Stripe(settings, database, first_wait=FAST)
    try:
        yield client
    finally:
        await client.close()


@dataclass
class Shop:
    """The parts, and the moves that tests make with them."""

    server: LocalStripe
    client: Stripe
    database: Database
    context: Context
    _ids: count[int] = field(default_factory=lambda: count(1))

    async def put(self, key: int | None = None, **columns: Any) -> int:
        """Insert a space (key None) or update one; returns its id."""
        if key is not None:
            await self._update(key, columns)
            return key
        row = {
            "name": "Test Space",
            "description": "A desk",
            "capacity": 10,
            "price_per_hour": "25.00",
        } | columns
        statement = sql.SQL("insert into public.spaces ({}) values ({}) returning id").format(
            sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
        )
        async with self.database.connection() as connection:
            inserted = await (await connection.execute(statement, row)).fetchone()
        assert inserted is not None
        return int(inserted["id"])

    async def _update(self, key: int, columns: Mapping[str, Any]) -> None:
        assignments = [sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(c)) for c in columns]
        statement = sql.SQL("update public.spaces set {} where id = {}").format(
            sql.SQL(", ").join(assignments), sql.Placeholder("id")
        )
        async with self.database.connection() as connection:
            await connection.execute(statement, {**columns, "id": key})

    async def row(self, key: int | str) -> dict[str, Any] | None:
        """The row as it is now."""
        return await self.context.row(self._change(key, "update"))

    async def remove(self, key: int) -> dict[str, Any]:
        """Delete a space; returns the row that was."""
        async with self.database.connection() as connection:
            deleted = await connection.execute("delete from public.spaces where id = %s returning *", (key,))
            row = await deleted.fetchone()
        assert row is not None
        return row

    async def sync(self, key: int | str, op: Op = "update", old: Mapping[str, Any] | None = None) -> None:
        """Deliver one event to the handler; `old` is the row that a delete has taken away."""
        ids = None if old is None else json.dumps({"stripe_product_id": old["stripe_product_id"]})
        await sync_space(self._change(key, op, ids), self.context)

    async def settle(self, key: int, op: Op = "update", old: Mapping[str, Any] | None = None) -> int:
        """Deliver an event until the handler has done its work, as the engine would; returns the attempts."""
        for attempt in range(1, 20):
            try:
                await self.sync(key, op, old)
            except (Retry, Unavailable):
                continue
            return attempt
        raise AssertionError("the handler did not come to an end")

    def _change(self, key: int | str, op: Op, old_json: str | None = None) -> Change:
        topic = "public.spaces"
        return Change(id=next(self._ids), at=datetime.now(UTC), topic=topic, op=op, key=str(key), old_json=old_json)

    def writes(self) -> list[Call]:
        """The writes that Stripe was asked for since the last `server.calls.clear()`."""
        return [call for call in self.server.calls if call.method == "POST"]

    def products(self, *, active: bool = True) -> list[dict[str, Any]]:
        """The active (or the archived) products at Stripe."""
        return [p for p in self.server.state()["products"] if p["active"] is active]

    def prices(self, *, active: bool = True) -> list[dict[str, Any]]:
        """The active (or the archived) prices at Stripe."""
        return [p for p in self.server.state()["prices"] if p["active"] is active]


@asynccontextmanager
async def open_shop(database_url: str, **settings: Any) -> AsyncIterator[Shop]:
    """A shop over a migrated database; `settings` change those of Stripe."""
    async with (
        LocalStripe() as server,
        open_database(database_url) as database,
        open_stripe(stripe_settings(server, **settings), database) as client,
    ):
        async with database.connection() as connection:
            table = await read_table(connection, "public.spaces")
        services = Services(database, {stripe: client}, {table.topic: table})
        yield Shop(server, client, database, Context("sync_space", services))
