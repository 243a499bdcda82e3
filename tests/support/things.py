"""The tables that the tests of faults watch, and the handlers of them (see `observed`)."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, LiteralString

import psycopg

from tests.support.waiting import eventually
from worker.declare.extensions import import_modules
from worker.declare.registry import Registry, registry
from worker.install import migrations
from worker.install.migrate import migrate
from worker.postgres.database import Database
from worker.settings import Settings

TABLES: LiteralString = """
create table if not exists things (id integer primary key, version integer not null, pad text);
create table if not exists others (id integer primary key, version integer not null)
"""
PUT = "insert into things values (%s, %s) on conflict (id) do update set version = excluded.version"


def observed(*names: str) -> list[str]:
    """The modules of `observed` by their short names."""
    return [f"tests.support.observed.{name}" for name in names]


async def watch_things(url: str, modules: Iterable[str]) -> None:
    """Make the tables, and migrate the database for the handlers of `modules`."""
    names = list(modules)
    for name in names:
        import_modules(name)
    chosen = Registry()
    chosen.handlers = {n: h for n, h in registry.handlers.items() if h.function.__module__ in names}
    database = Database(Settings.model_validate({"DATABASE_URL": url}), application="hearken tests")
    connection = await database.connect()
    try:
        await connection.execute(TABLES)
        await migrations.apply(connection, migrations.find_migrations([]))
        await migrate(connection, chosen)
    finally:
        await connection.close()


async def connect(url: str) -> psycopg.AsyncConnection[tuple[Any, ...]]:
    """An application's connection, in autocommit."""
    return await psycopg.AsyncConnection.connect(url, autocommit=True)


async def write_things(url: str, *, keys: int, versions: Iterable[int]) -> None:
    """Commit each of the versions of every key (from 0), one at a time and the keys by turns."""
    async with await connect(url) as connection:
        for version in versions:
            for key in range(keys):
                await connection.execute(PUT, (key, version))


SLEEPERS: LiteralString = """
select pid from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and granted
  and database = (select oid from pg_database where datname = current_database())
"""


PEEKED: LiteralString = """
select pid from pg_stat_activity where datname = current_database() and state = 'idle' and query like '%as due_in%'
"""


async def until_asleep(url: str, seconds: float = 10) -> int:
    """Wait until a worker shows writers that it sleeps; returns its listener's backend. Nothing tells of that: ask."""
    return await _until_there(url, SLEEPERS, seconds)


async def until_nobody_sleeps(url: str, seconds: float = 10) -> None:
    """Wait until no lock shows writers that someone sleeps: the server takes a moment to see that a worker is dead."""
    async with await connect(url) as connection:
        await eventually(lambda: _rows(connection, SLEEPERS), "end of sleep", seconds, fits=operator.not_)


async def until_fast_asleep(url: str, seconds: float = 10) -> None:
    """Wait until a worker that sleeps for the first time has also taken its last look at the log."""
    await _until_there(url, SLEEPERS, seconds)
    await _until_there(url, PEEKED, seconds)


async def _until_there(url: str, query: LiteralString, seconds: float) -> int:
    async with await connect(url) as connection:
        pid: int = (await eventually(lambda: _rows(connection, query), "sleeper", seconds))[0][0]
    return pid


async def _rows(connection: psycopg.AsyncConnection[tuple[Any, ...]], query: LiteralString) -> list[tuple[Any, ...]]:
    return await (await connection.execute(query)).fetchall()


async def until_nothing_is_parked(url: str) -> None:
    """Wait until every delivery is settled, those too that go on beside their batch."""

    async def parked() -> int:
        async with await connect(url) as connection:
            ((count,),) = await (await connection.execute("select count(*) from hearken.parked")).fetchall()
            return int(count)

    await eventually(parked, "nothing parked", 20, fits=operator.not_)
