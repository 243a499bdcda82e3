"""Databases for tests: one server per test process, one database per test, cloned from a migrated one."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.support.versions import tested
from worker.dev.embedded import EmbeddedPostgres
from worker.install import migrations

# Without fsync only a power cut loses anything. With synchronous_commit or full_page_writes off, killing the
# server would too; and without fsync they save nothing.
FAST = {"fsync": "off", "max_connections": "200", "max_wal_size": "256MB"}
TEMPLATE = "template_hearken"

_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 4 * 2**30

_numbers = count(1)


def temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """A directory for a server that will be thrown away; gone when the context ends.

    In memory where there is room: a database is 300 files to make and remove, 0.3 s on some disks.
    """
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED
    return tempfile.TemporaryDirectory(prefix="hearken-test-", dir=_MEMORY if in_memory else None)


def server_in(data: Path, settings: Mapping[str, str] = FAST) -> EmbeddedPostgres:
    """A server of the version that is tested (see `versions`), not yet started."""
    postgres = tested()
    return EmbeddedPostgres(data, version=postgres.version, programs=postgres.programs, settings=settings)


def prepare_template(url: str) -> None:
    """Bring the empty database at `url` to the state in which tests find theirs: migrated."""
    asyncio.run(_apply_migrations(url))


async def _apply_migrations(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await migrations.apply(connection, migrations.find_migrations(["spaces", "stripe", "sessions"]))


def create_template(server: EmbeddedPostgres) -> str:
    """Make the migrated database; returns its name. One that someone is connected to cannot be cloned."""
    with _administration(server) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(TEMPLATE)))
    prepare_template(_url_of(server, TEMPLATE))
    return TEMPLATE


@contextmanager
def new_database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The URL of a database cloned from `template`; dropped on leaving, whoever is still connected to it."""
    name = f"test_{next(_numbers)}"
    with _administration(server) as connection:
        # FILE_COPY: without fsync faster than WAL_LOG, and without its pauses for checkpoints. Version 14 has no other.
        strategy = sql.SQL(" strategy file_copy" if connection.info.server_version >= 150000 else "")
        clone = sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(clone + strategy)
        try:
            yield _url_of(server, name)
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _url_of(server: EmbeddedPostgres, database: str) -> str:
    return urlsplit(server.url)._replace(path=f"/{database}").geturl()


def _administration(server: EmbeddedPostgres) -> psycopg.Connection:
    return psycopg.connect(server.url, autocommit=True)
