"""Promise: tables that exist already are used as they are, or the migration says what they lack."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.packages import migrate_packages, open_club
from worker.dev.embedded import EmbeddedPostgres
from worker.errors import MigrationError


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.mark.parametrize("key", ["bigint", "text"])
async def test_profiles_may_have_any_key(shared_postgres: EmbeddedPostgres, empty_database_url: str, key: str) -> None:
    """What refers to a profile is made with the type of its key; bulk and single sync work with it."""
    execute(
        empty_database_url,
        f"create table public.profiles (id {key} primary key default (random() * 1000000)::int, name varchar(80),"
        " email varchar, phone_number varchar(20), last_login_at timestamp, line_id text)",
    )
    async with open_club(shared_postgres, empty_database_url) as club:
        await club.fill(3)
        profile = await club.profile(email="jane@example.com")
        assert (await club.map(profile)).customer_id is None
        assert (await club.map(profile)).match is not None
        rows = await club.execute(
            "select format_type(atttypid, atttypmod) as type from pg_attribute"
            " where attrelid = 'public.crm_customer_mapping'::regclass and attname = 'profile_id'"
        )
    assert rows == [{"type": key}]


async def test_a_table_that_lacks_columns_is_refused_with_their_names(empty_database_url: str) -> None:
    """All of them, with their tables, at once."""
    execute(empty_database_url, "create table public.profiles (id int primary key, email text)")
    execute(empty_database_url, "create table public.bookings (id int primary key)")
    with pytest.raises(
        MigrationError,
        match=r"lack columns: public\.bookings\.profile_id, public\.profiles\.last_login_at, public\.profiles\.name, ",
    ):
        await migrate_packages(empty_database_url)


async def test_profiles_with_another_primary_key_are_refused(empty_database_url: str) -> None:
    """A mapping belongs to one profile."""
    execute(
        empty_database_url,
        "create table public.profiles (id int, tenant int, name text, email text, phone_number text,"
        " last_login_at timestamptz, primary key (id, tenant))",
    )
    with pytest.raises(MigrationError, match=r"primary key of public\.profiles is not \(id\)"):
        await migrate_packages(empty_database_url)


@pytest.mark.parametrize(
    "statement",
    [
        "update public.crm_customer_mapping set match_method = null",
        "update public.crm_customer_mapping set match_confidence = 1.5",
        "update public.crm_customer_mapping set candidates = '{}'",
    ],
)
async def test_a_mapping_that_says_nothing_is_refused(
    shared_postgres: EmbeddedPostgres, empty_database_url: str, statement: str
) -> None:
    """A customer has a method, a confidence is from 0 to 1, candidates are a list."""
    async with open_club(shared_postgres, empty_database_url) as club:
        await club.mapped(7)
        with pytest.raises(psycopg.errors.CheckViolation):
            await club.execute(statement)
