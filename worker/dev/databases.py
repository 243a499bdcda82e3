"""The database that `surroundings` works on: the embedded one, the one of DATABASE_URL, or one beside it for a demo."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from psycopg import AsyncConnection, errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from worker.dev.embedded import EmbeddedPostgres
from worker.dev.programs import find_programs
from worker.errors import ConfigurationError

CONNECT_TIMEOUT = 10
SECRET = ("password", "sslpassword")


@asynccontextmanager
async def embedded(path: Path) -> AsyncIterator[str]:
    """The URL of a Postgres of our own that keeps its data in `path`. Raises EmbeddedPostgresError."""
    server = EmbeddedPostgres(path)
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    try:
        await asyncio.shield(starting)
        yield server.url
    finally:
        await asyncio.wait([starting])  # a thread does not end by being cancelled
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def beside(url: str) -> AsyncIterator[str]:
    """The URL of a new database on the server of `url`, dropped in the end: a demo leaves what is there alone.

    Raises ConfigurationError, psycopg.OperationalError.
    """
    name = f"hearken_demo_{secrets.token_hex(4)}"
    async with await AsyncConnection.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT) as connection:
        try:
            await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        except errors.InsufficientPrivilege:
            raise ConfigurationError(
                "the role of DATABASE_URL may not create a database for the demo: "
                "give another role, or unset DATABASE_URL to use the embedded Postgres"
            ) from None
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            await connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def psql_of_ours(url: str) -> str:
    """A line to paste into a shell for the embedded database: it has the password of a server that only we can reach.

    If no psql is installed, it uses that of the embedded Postgres.
    """
    program = "psql" if shutil.which("psql") else str(find_programs(16) / "psql")
    return shlex.join([program, url])


def psql_of_theirs(url: str) -> str:
    """A line to paste into a shell for the database of DATABASE_URL, without its password."""
    public = {name: value for name, value in conninfo_to_dict(url).items() if name not in SECRET}
    return shlex.join(["psql", make_conninfo("", **public)])
