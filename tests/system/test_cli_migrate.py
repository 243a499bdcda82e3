"""Promise: `hearken migrate` brings the database to what the code declares, and can tell before."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest

from tests.support.cli import ROOT, Rooms, hearken, program
from tests.support.sample_handlers import TABLES
from worker.install.migrations import find_migrations

ENGINE = [str(migration) for migration in find_migrations([])]


@pytest.fixture
def tables_url(empty_database_url: str) -> str:
    """A database with the watched tables, and nothing of ours."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(TABLES)
    return empty_database_url


def log_exists(url: str) -> bool:
    with psycopg.connect(url) as connection:
        (row,) = connection.execute("select to_regclass('hearken.events') is not null").fetchall()
    return bool(row[0])


async def test_check_changes_nothing_and_migrate_does_it_once(tables_url: str) -> None:
    """--check lists what is pending and exits with 1 until `migrate` has run; a second run is up to date."""
    before = await hearken(tables_url, "migrate", "--check")
    assert (before.code, before.out.splitlines()) == (1, [f"migration {file}" for file in ENGINE])
    assert not log_exists(tables_url)
    done = (await hearken(tables_url, "migrate", "--json")).json
    assert (done["done"], done["migrations"]) == (True, ENGINE)
    assert [handler["handler"] for handler in done["handlers"]] == ["note_room", "price_room", "hearken.canary"]
    assert len(done["partitions"]) == 4
    check, again = await asyncio.gather(hearken(tables_url, "migrate", "--check"), hearken(tables_url, "migrate"))
    assert (check.code, check.out) == (0, "up to date\n")
    assert (again.code, again.out) == (0, "up to date\n")


async def test_sql_prints_what_would_run_and_runs_nothing(tables_url: str) -> None:
    """What --sql prints can be run by hand: first the files, then the triggers and partitions."""
    files = await hearken(tables_url, "migrate", "--sql")
    assert not log_exists(tables_url)
    with psycopg.connect(tables_url, autocommit=True) as connection:
        connection.execute(files.out.encode())
    rest = await hearken(tables_url, "migrate", "--sql")
    with psycopg.connect(tables_url, autocommit=True) as connection:
        connection.execute(rest.out.encode())
    pending = await hearken(tables_url, "migrate", "--check", "--json")
    assert pending.code == 1
    assert (pending.json["migrations"], pending.json["triggers"]) == ([], [])
    assert [handler["action"] for handler in pending.json["handlers"]] == ["add"] * 3


async def test_a_trigger_that_differs_is_pending(rooms: Rooms) -> None:
    """A trigger that someone has disabled is found, and mended."""
    assert (await hearken(rooms.url, "migrate")).code == 0
    await rooms.execute("alter table rooms disable trigger hearken_insert")
    check = await hearken(rooms.url, "migrate", "--check")
    assert (check.code, check.out) == (1, "trigger hearken_insert on public.rooms: disabled\n")
    assert (await hearken(rooms.url, "migrate")).code == 0
    assert (await hearken(rooms.url, "migrate", "--check")).code == 0


async def test_what_cannot_be_watched_is_said_in_one_line(database_url: str, tmp_path: Path) -> None:
    """A table that is not there, a column that is not there: what to do, and no traceback."""
    declare = "from worker import on\n@on('public.spaces', watch=('colour',))\nasync def paint(change, ctx): ...\n"
    (tmp_path / "paints.py").write_text(declare)
    column, table = await asyncio.gather(
        program(database_url, "migrate", HEARKEN_HANDLERS="paints", PYTHONPATH=f"{tmp_path}:{ROOT}"),
        hearken(database_url, "migrate"),
    )
    assert (column.code, column.err.count("\n")) == (2, 1), column
    assert "colour" in column.err
    assert (table.code, table.err.count("\n")) == (1, 1), table
    assert "table public.rooms does not exist" in table.err
