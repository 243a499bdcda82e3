"""Profiles in a database, a CRM, and the package sync between them, run by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from handlers.packages import Crm, Link
from handlers.packages.mapping import Mapping, get_or_create_mapping
from handlers.packages.sync import Synced, sync_packages
from tests.support.crm import CrmServer, open_client, open_crm
from tests.support.gateway import Gateway
from tests.support.shop import open_database
from worker.declare.registry import Registry, registry
from worker.dev.embedded import EmbeddedPostgres
from worker.install.migrate import migrate
from worker.postgres.database import Database

PACKAGE = "handlers.packages"
MANY = """
with made as (insert into public.profiles (name) select 'Member ' || i from generate_series(1, {n}) i returning id)
insert into public.crm_customer_mapping (profile_id, crm_customer_id, match_method)
select id, row_number() over (order by id), 'manual' from made
"""
THEIRS = """
insert into customers (id) select i from generate_series(1, {n}) i;
insert into packages (id, customer_id, package_name) select i * 10 + j, i, 'Gold'
from generate_series(1, {n}) i, generate_series(1, 2) j
"""


def own_registry() -> Registry:
    """What is declared in handlers/packages alone."""
    own = Registry()
    own.handlers = {n: h for n, h in registry.handlers.items() if h.function.__module__.startswith(PACKAGE)}
    own.resources = [r for r in registry.resources if r.factory.__module__.startswith(PACKAGE)]
    own.checks = [c for c in registry.checks if c.check.__module__.startswith(PACKAGE)]
    return own


async def migrate_packages(url: str) -> None:
    """What `hearken migrate` does for it."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await migrate(connection, own_registry())


@dataclass
class Club:
    """The parts, and the moves that tests make with them."""

    url: str
    crm: CrmServer
    client: Crm
    database: Database

    @property
    def link(self) -> Link:
        """What handlers use."""
        return Link(self.client, self.database)

    @property
    def gateway(self) -> Gateway:
        return self.crm.gateway

    async def execute(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Run a statement in our database; returns its rows, if any."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(statement.encode(), values or None)
            return await cursor.fetchall() if cursor.description else []

    async def profile(self, **columns: Any) -> str:
        """A new profile; returns its id."""
        row = {"name": None, "email": None, "phone_number": None} | columns
        (made,) = await self.execute(
            "insert into public.profiles (name, email, phone_number) values (%s, %s, %s) returning id::text",
            *row.values(),
        )
        return str(made["id"])

    async def mapped(self, customer: int | str, **columns: Any) -> str:
        """A new profile that has its customer already; returns its id."""
        profile = await self.profile(**columns)
        await self.execute(
            "insert into public.crm_customer_mapping (profile_id, crm_customer_id, match_method)"
            " values (%s, %s, 'manual')",
            profile,
            str(customer),
        )
        return profile

    async def fill(self, n: int) -> None:
        """So many profiles, the first of them customer 1 and so on, with two packages each."""
        await self.execute(MANY.format(n=n))
        await self.crm.execute(THEIRS.format(n=n))

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to the CRM."""
        return {"CRM_SUPABASE_URL": self.gateway.url, "CRM_SUPABASE_KEY": self.gateway.key}

    async def map(self, profile: str) -> Mapping:
        """Its mapping, made if there is none."""
        mapping = await get_or_create_mapping(self.client, self.database, profile)
        assert mapping is not None
        return mapping

    async def sync(self, profile: str) -> Synced:
        """Sync one profile."""
        synced = await sync_packages(self.client, self.database, profile)
        assert synced is not None
        return synced

    async def stored(self, profile: str) -> dict[str, Any]:
        """The row of the profile's mapping."""
        (row,) = await self.execute("select * from public.crm_customer_mapping where profile_id = %s", profile)
        return row

    async def packages(self) -> dict[str, dict[str, Any]]:
        """The local copy, by the CRM's ids."""
        rows = await self.execute("select * from public.packages")
        return {row["crm_package_id"]: row for row in rows}

    async def live(self) -> set[str]:
        """The ids of the packages that are not removed."""
        return {key for key, row in (await self.packages()).items() if row["removed_at"] is None}


@asynccontextmanager
async def open_club(
    server: EmbeddedPostgres, url: str, *, key: str = "bigint", delay: float = 0.0, **settings: Any
) -> AsyncIterator[Club]:
    """A club with nobody in it, over the empty database at `url`; `settings` change those of the CRM's client."""
    await migrate_packages(url)
    async with (
        open_crm(server, key=key, delay=delay) as crm,
        open_client(crm.gateway, **settings) as client,
        open_database(url) as database,
    ):
        yield Club(url, crm, client, database)


@asynccontextmanager
async def application(url: str) -> AsyncIterator[psycopg.AsyncConnection[dict[str, Any]]]:
    """An application's connection, in autocommit."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield connection
