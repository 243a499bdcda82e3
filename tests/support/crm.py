"""A CRM for tests: a second database, a real PostgREST before it, a gateway before that, and a client of it all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from handlers.packages import Crm, CrmSettings
from tests.support.gateway import Gateway, gateway
from tests.support.postgres import new_database
from tests.support.postgrest import PostgRest, postgrest
from worker.dev.embedded import EmbeddedPostgres

ROLE = "crm_reader"
FAST = 0.001
"""Seconds between the tries of one call."""
# What handlers/packages/README.md says a CRM has to have; its own columns beside that are of no interest.
TABLES = """
create table customers (
    id {key}, name text, email text, phone text, stars int default 3);
create table packages (
    id {key}, customer_id {key} not null, package_name text not null, total_hours numeric, used_hours numeric,
    remaining_hours numeric, purchase_date date, first_use_date date, expiration_date date,
    updated_at timestamptz not null default now(), stars int default 3);
create index on packages (customer_id, id);
alter table customers add primary key (id);
alter table packages add primary key (id);
grant select on customers, packages to crm_reader;
"""
MAKE_ROLE = """
do $$ begin create role crm_reader nologin; exception when duplicate_object or unique_violation then end $$
"""


@contextmanager
def crm_database(server: EmbeddedPostgres, key: str = "bigint") -> Iterator[str]:
    """The URL of a database with the CRM's tables, whose keys are of the type `key`."""
    with new_database(server, "template0") as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(MAKE_ROLE)
            connection.execute(TABLES.format(key=key).encode())
        yield url


@contextmanager
def served(server: EmbeddedPostgres, *, key: str = "bigint", max_rows: int = 1000) -> Iterator[tuple[str, PostgRest]]:
    """A CRM's database, and a PostgREST before it."""
    with crm_database(server, key) as url, postgrest(url, ROLE, max_rows=max_rows) as upstream:
        yield url, upstream


def crm_settings(where: Gateway, **changed: Any) -> CrmSettings:
    """Settings for the gateway: no pace to speak of, and a short timeout."""
    values = {"url": where.url, "key": where.key, "rps": 10_000, "timeout": 5.0}
    return CrmSettings.model_validate({**values, **changed})


@asynccontextmanager
async def open_client(where: Gateway, *, page: int = 1000, **settings: Any) -> AsyncIterator[Crm]:
    """A client whose retries follow each other at once."""
    client = Crm(crm_settings(where, **settings), page=page, first_wait=FAST)
    try:
        yield client
    finally:
        await client.close()


@dataclass
class CrmServer:
    """The parts, and what tests do in the CRM."""

    connection: psycopg.AsyncConnection[dict[str, Any]]
    gateway: Gateway

    async def execute(self, statement: str) -> None:
        """Run statements in the CRM's database."""
        await self.connection.execute(statement.encode())

    async def add(self, table: str, **columns: Any) -> None:
        """Insert a row."""
        statement = sql.SQL("insert into {} ({}) values ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.Placeholder, columns)),
        )
        await self.connection.execute(statement, columns)

    async def customer(self, number: int, **columns: Any) -> None:
        """A customer with two packages, numbered from ten times its number."""
        await self.add("customers", id=number, **columns)
        for package in (10 * number, 10 * number + 1):
            await self.add("packages", id=package, customer_id=number, package_name="Gold", remaining_hours="7.25")


@asynccontextmanager
async def open_crm(
    server: EmbeddedPostgres, *, key: str = "bigint", max_rows: int = 1000, delay: float = 0.0
) -> AsyncIterator[CrmServer]:
    """A CRM with nothing in it."""
    with served(server, key=key, max_rows=max_rows) as (url, upstream):
        async with (
            await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection,
            gateway(upstream, delay=delay) as front,
        ):
            yield CrmServer(connection, front)
