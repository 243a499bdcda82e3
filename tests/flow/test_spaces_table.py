"""Promise: a table of spaces that exists already is used as it is, or the migration says what it lacks."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.shop import open_shop
from worker.errors import MigrationError
from worker.install import migrations


async def migrate(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await migrations.apply(connection, migrations.find_migrations(["stripe", "spaces"]))


async def execute(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


async def test_an_existing_table_with_uuid_keys_is_kept_and_works(empty_database_url: str) -> None:
    """Other types, other columns, a space that is there already: nothing is changed, and it reaches Stripe."""
    await execute(
        empty_database_url,
        """create table public.spaces (
               id uuid primary key default gen_random_uuid(), name varchar(80), description text, city text,
               capacity smallint, price_per_hour numeric(10, 2), is_active boolean not null default true,
               stripe_product_id varchar(64), stripe_price_id varchar(64));
           insert into public.spaces (id, name, capacity, price_per_hour, city)
           values ('00000000-0000-0000-0000-00000000002a', 'Test Space', 10, 25, 'Lyon')""",
    )
    await migrate(empty_database_url)
    async with open_shop(empty_database_url) as shop:
        await shop.sync("00000000-0000-0000-0000-00000000002a")
        row = await shop.row("00000000-0000-0000-0000-00000000002a")
        (product,), (price,) = shop.products(), shop.prices()
    assert row is not None
    assert product["id"] == "space_00000000-0000-0000-0000-00000000002a"
    assert (row["city"], row["stripe_product_id"], row["stripe_price_id"]) == ("Lyon", product["id"], price["id"])


async def test_a_table_with_another_primary_key_is_refused(empty_database_url: str) -> None:
    """The ids of a row are written by its `id`: it has to be one row's alone."""
    await execute(
        empty_database_url,
        """create table public.spaces (
               id bigint, tenant bigint, name text, description text, capacity int, price_per_hour numeric,
               is_active boolean, stripe_product_id text, stripe_price_id text, primary key (id, tenant))""",
    )
    with pytest.raises(MigrationError, match=r"primary key of public\.spaces is not \(id\)"):
        await migrate(empty_database_url)


async def test_a_table_that_lacks_columns_is_refused_with_their_names(empty_database_url: str) -> None:
    """The migration names every missing column, and how to add one."""
    await execute(empty_database_url, "create table public.spaces (id bigint primary key, name text, capacity int)")
    with pytest.raises(
        MigrationError,
        match="lacks columns: description, is_active, price_per_hour, stripe_price_id, stripe_product_id",
    ):
        await migrate(empty_database_url)
