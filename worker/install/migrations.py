"""The SQL files of `schema/`, applied once each and in order: the base everything else stands on.

One transaction and one advisory lock per file. The ledger keeps each file's checksum, because an applied file that is
edited afterwards makes databases that only look alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from itertools import pairwise
from typing import Any, LiteralString

from psycopg import AsyncConnection, Error, sql
from psycopg.rows import tuple_row

from worker.errors import MigrationError
from worker.postgres.locks import migration_lock

ENGINE = "engine"

LEDGER: LiteralString = """
create schema if not exists hearken;
create table if not exists hearken.migrations (
    area       text        not null,
    version    integer     not null,
    name       text        not null,
    checksum   text        not null,
    applied_at timestamptz not null default now(),
    primary key (area, version)
)
"""
LEDGER_EXISTS: LiteralString = "select to_regclass('hearken.migrations') is not null"
APPLIED: LiteralString = "select area, version, checksum from hearken.migrations"
RECORD = sql.SQL("insert into hearken.migrations (area, version, name, checksum) values ({}, {}, {}, {})")
LOCK: LiteralString = "select pg_advisory_xact_lock(%s)"
# Others queue behind DDL that waits for a table's lock.
LOCK_TIMEOUT: LiteralString = "set local lock_timeout = '5s'"


@dataclass(frozen=True)
class Migration:
    """One file of schema/AREA/, named VERSION_what_it_does.sql."""

    area: str
    version: int
    name: str
    text: str = field(repr=False)

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return f"schema/{self.area}/{self.version:04}_{self.name}.sql"


def find_migrations(areas: Iterable[str]) -> list[Migration]:
    """The files of the engine and then of each area named, in order. An area without a folder has none."""
    root = resources.files("schema")
    found: list[Migration] = []
    for area in dict.fromkeys([ENGINE, *areas]):
        folder = root / area
        if not folder.is_dir():
            continue
        files = [file for file in folder.iterdir() if file.name.endswith(".sql")]
        of_area = sorted((_read(area, f.name, f.read_text("utf-8")) for f in files), key=lambda m: m.version)
        for first, second in pairwise(of_area):
            if first.version == second.version:
                raise MigrationError(f"{first} and {second} have the same version: give the later one the next number")
        found += of_area
    return found


def _read(area: str, file: str, text: str) -> Migration:
    version, _, name = file.removesuffix(".sql").partition("_")
    if not version.isdigit() or not name:
        raise MigrationError(f"schema/{area}/{file}: must be named like 0001_what_it_does.sql")
    return Migration(area, int(version), name, text)


async def pending(connection: AsyncConnection[Any], migrations: Iterable[Migration]) -> list[Migration]:
    """Those not applied yet. Raises MigrationError when an applied one is no longer what was applied."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(LEDGER_EXISTS)
        if not (await cursor.fetchone() or (False,))[0]:
            return list(migrations)
        await cursor.execute(APPLIED)
        applied = {(area, version): checksum for area, version, checksum in await cursor.fetchall()}
    edited = [m for m in migrations if applied.get((m.area, m.version), m.checksum) != m.checksum]
    if edited:
        raise MigrationError(
            f"{edited[0]} was edited after it was applied: restore the file, and put the change into a new one"
        )
    return [m for m in migrations if (m.area, m.version) not in applied]


async def apply(connection: AsyncConnection[Any], migrations: list[Migration]) -> list[Migration]:
    """Apply what is pending, each file in its own transaction; returns those applied by this call.

    Any number of processes may do this at once: each file is applied by one of them.
    Raises MigrationError, with nothing of the failing file kept.
    """
    async with connection.transaction():
        await connection.execute(LOCK, (migration_lock(),))
        await connection.execute(LEDGER)
    return [m for m in await pending(connection, migrations) if await _apply_one(connection, m)]


def script(migration: Migration) -> str:
    """What applying the file alone would run, for someone who runs it by hand."""
    record = _record(migration).as_string()
    return f"-- {migration}\nbegin;{LEDGER.rstrip()};\n{migration.text.strip()}\n{record};\ncommit;\n"


def _record(migration: Migration) -> sql.Composed:
    return RECORD.format(migration.area, migration.version, migration.name, migration.checksum)


async def _apply_one(connection: AsyncConnection[Any], migration: Migration) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(LOCK, (migration_lock(),))
            if not await pending(connection, [migration]):
                return False
            await connection.execute(LOCK_TIMEOUT)
            await connection.execute(migration.text.encode())
            await connection.execute(_record(migration))
    except Error as error:
        raise MigrationError(f"{migration} failed and was rolled back: {str(error).strip()}") from error
    return True
