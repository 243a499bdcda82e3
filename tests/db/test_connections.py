"""Promise: a pooled connection is as good as a new one, whatever went wrong on it before."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from psycopg import errors

from tests.support.shop import open_database
from worker.postgres.database import Connection


async def test_a_connection_outlives_any_number_of_failures(database_url: str) -> None:
    """Statements that the session has prepared are known to both sides, or to neither."""
    async with open_database(database_url, HEARKEN_CONNECTIONS="1") as database:
        for _ in range(30):
            with pytest.raises(errors.DivisionByZero):
                async with database.connection() as connection:
                    for _ in range(3):
                        await connection.execute("select %s::int", (1,))
                    await connection.execute("select 1 / 0")
            with pytest.raises(KeyError):
                async with database.connection(origin="somebody") as connection:
                    await connection.execute("select %s::text", ("a",))
                    raise KeyError
        async with database.connection() as connection:
            (left,) = await (await connection.execute("select count(*) as n from pg_prepared_statements")).fetchall()
    assert left["n"] <= 2


async def test_a_prepared_statement_outlives_a_change_of_its_table(database_url: str) -> None:
    """The first use after it fails, and no other: it is prepared anew."""
    failures = 0
    async with open_database(database_url, HEARKEN_CONNECTIONS="1") as database:
        async with database.connection() as connection:
            await connection.execute("create table rooms (id int)")
        for number in range(20):
            try:
                async with database.connection() as connection:
                    await connection.execute("select * from rooms")
            except errors.FeatureNotSupported:
                failures += 1
            if number in (8, 14):
                async with await database.connect() as other:
                    await other.execute(f"alter table rooms add column c{number} int".encode())
    assert failures <= 2


def stop_at_the_next_statement(connection: Connection) -> None:
    """Cancel the task that uses the connection, just as it begins to give back what was set on it."""
    using = asyncio.current_task()
    assert using is not None
    reset = connection.reset_session

    async def stopped() -> None:
        using.cancel()
        await reset()

    connection.reset_session = stopped  # type: ignore[method-assign]


async def test_a_connection_that_is_given_up_is_not_warned_of(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever is stopped while a connection is made new closes it: that is how it is meant, and no news."""
    async with open_database(database_url, HEARKEN_CONNECTIONS="1") as database:
        with suppress(asyncio.CancelledError):
            async with database.connection() as connection:
                stop_at_the_next_statement(connection)
        async with database.connection() as connection:
            assert (await (await connection.execute("select 1 as n")).fetchall()) == [{"n": 1}]
    assert [line.getMessage() for line in caplog.records if line.levelname == "WARNING"] == []
