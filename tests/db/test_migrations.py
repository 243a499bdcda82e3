"""Promise: each SQL file is applied once, wholly or not at all, and what was applied is never something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import handlers.stripe
from tests.support.waiting import until_blocked
from tests.support.watched import Watched, connect, declare
from worker.declare.registry import Registry
from worker.errors import MigrationError
from worker.install import migrations
from worker.install.migrate import find_pending, migrate
from worker.install.migrations import Migration, apply, find_migrations, pending

MakeFiles = Callable[..., list[Migration]]


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[Watched]:
    """A connection to a database with nothing in it."""
    async with connect(empty_database_url) as connection:
        yield Watched(connection)


@pytest.fixture
def make_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeFiles:
    """Puts files into a `schema/engine` of the test's own, and finds them as the runner does."""
    folder = tmp_path / "engine"
    folder.mkdir()
    monkeypatch.setattr("worker.install.migrations.resources.files", lambda _: tmp_path)

    def make(**files: str) -> list[Migration]:
        for name, text in files.items():
            (folder / f"{name}.sql").write_text(text)
        return find_migrations([])

    return make


async def ledger(empty: Watched) -> list[str]:
    rows = await empty.rows("select area, version, name from hearken.migrations order by applied_at, version")
    return [f"{row['area']}/{row['version']}_{row['name']}" for row in rows]


async def exists(empty: Watched, *names: str) -> list[bool]:
    return [(await empty.rows("select to_regclass(%s) is not null as it", (name,)))[0]["it"] for name in names]


async def test_each_file_is_applied_once_and_in_order(empty: Watched) -> None:
    """The engine's first, then those of the areas; a second run finds nothing to do."""
    wanted = find_migrations(["stripe", "spaces"])
    assert await apply(empty.connection, wanted) == wanted
    assert await apply(empty.connection, wanted) == await pending(empty.connection, wanted) == []
    names = await ledger(empty)
    assert names == [f"{m.area}/{m.version}_{m.name}" for m in wanted]
    areas = [migration.area for migration in wanted]
    assert areas == sorted(areas, key=["engine", "stripe", "spaces"].index)


async def test_a_failing_file_leaves_nothing_of_itself(empty: Watched, make_files: MakeFiles) -> None:
    """Those before it stay applied, those after it are not tried, and mended it is applied."""
    broken = {"0001_a": "create table a (); select 100 % 7", "0002_b": "create table b (); select 1/0"}
    files = make_files(**broken, **{"0003_c": "create table c ()"})
    with pytest.raises(MigrationError, match=r"schema/engine/0002_b\.sql failed and was rolled back: division by"):
        await apply(empty.connection, files)
    assert await exists(empty, "a", "b", "c") == [True, False, False]
    assert await ledger(empty) == ["engine/1_a"]
    await apply(empty.connection, make_files(**{"0002_b": "create table b ()"}))
    assert await exists(empty, "a", "b", "c") == [True, True, True]


async def test_an_edited_file_is_refused(empty: Watched, make_files: MakeFiles) -> None:
    """Nothing at all is applied then, the new files neither; restored, it goes on."""
    await apply(empty.connection, make_files(**{"0001_a": "create table a ()"}))
    edited = make_files(**{"0001_a": "create table a (x int)", "0002_b": "create table b ()"})
    for action in (apply, pending):
        with pytest.raises(MigrationError, match=r"0001_a\.sql was edited after it was applied: restore the file"):
            await action(empty.connection, edited)
    assert await exists(empty, "b") == [False]
    await apply(empty.connection, make_files(**{"0001_a": "create table a ()"}))
    assert await exists(empty, "b") == [True]


async def test_a_renamed_file_is_the_same_file(empty: Watched, make_files: MakeFiles, tmp_path: Path) -> None:
    """Its version and what is in it say which it is; and files that newer code has applied do no harm."""
    await apply(empty.connection, make_files(**{"0001_a": "create table a ()", "0002_b": "create table b ()"}))
    (tmp_path / "engine" / "0001_a.sql").rename(tmp_path / "engine" / "0001_the_first.sql")
    (tmp_path / "engine" / "0002_b.sql").unlink()
    assert await apply(empty.connection, make_files()) == []


@pytest.mark.parametrize("name", ["first", "0001", "0001_", "_first", "one_first", "-1_first", "1.5_first"])
def test_a_badly_named_file_is_refused(make_files: MakeFiles, name: str) -> None:
    """The message says how a file must be named."""
    with pytest.raises(MigrationError, match=rf"schema/engine/{name}\.sql: must be named like 0001_what_it_does\.sql"):
        make_files(**{name: "select 1"})


@pytest.mark.parametrize("second", ["0001_b", "1_b", "00001_b"])
def test_two_files_of_one_version_are_refused(make_files: MakeFiles, second: str) -> None:
    """As when two branches were merged: it says so, and what to do."""
    with pytest.raises(MigrationError, match=r"0001_\w\.sql and .*0001_\w\.sql have the same version: give the later"):
        make_files(**{"0001_a": "select 1", second: "select 2"})


def test_files_are_ordered_by_number(make_files: MakeFiles) -> None:
    """However many digits they are written with; other files are not looked at."""
    assert [m.version for m in make_files(**{"10_c": "", "9_b": "", "0001_a": ""})] == [1, 9, 10]


def test_only_the_areas_of_declared_handlers_have_their_files_applied() -> None:
    """handlers/NAME brings schema/NAME; a handler of one's own brings none."""
    own = declare("public.rooms")
    assert {m.area for m in find_migrations(own.areas)} == {"engine"}
    stripe = Registry()
    stripe.resource(handlers.stripe.stripe)
    assert {m.area for m in find_migrations(stripe.areas)} == {"engine", "stripe"}
    assert find_migrations(["no_such_area"]) == find_migrations([])


async def test_pending_files_are_told_before_anything_is_there(empty: Watched) -> None:
    """Looking creates nothing, not even the ledger."""
    declared = declare("public.rooms")
    assert [str(m) for m in (await find_pending(empty.connection, declared)).migrations] == [
        str(m) for m in find_migrations([])
    ]
    assert await empty.rows("select from pg_namespace where nspname = 'hearken'") == []


@pytest.mark.slow
async def test_twenty_runs_at_once_do_each_thing_once(empty: Watched, empty_database_url: str) -> None:
    """Files, cursors and triggers: between them the runs report each exactly once, and none fails."""
    await empty.execute("create table rooms (id int primary key); create table plans (id int primary key)")
    declared = declare("public.rooms", shards=3)
    declare("public.plans", "plan", declared)
    start = asyncio.Event()

    async def run() -> list[str]:
        async with connect(empty_database_url) as connection:
            await start.wait()
            return (await migrate(connection, declared)).lines()

    runs = [asyncio.create_task(run()) for _ in range(20)]
    start.set()
    done = sorted(line for lines in await asyncio.gather(*runs) for line in lines if not line.startswith("partition"))
    assert len(done) == len(set(done)) == len(find_migrations([])) + 2 + 8
    assert not await find_pending(empty.connection, declared)
    assert len(await empty.rows("select from hearken.cursors")) == 4


async def test_the_printed_script_is_the_file_and_its_record(empty: Watched) -> None:
    """Run by hand it leaves the database as the runner would, and the runner knows."""
    wanted = find_migrations(["stripe"])
    for migration in wanted:
        await empty.execute(migrations.script(migration))
    assert await pending(empty.connection, wanted) == []


async def test_a_file_that_is_being_applied_is_waited_for(
    empty: Watched, empty_database_url: str, make_files: MakeFiles
) -> None:
    """A second run neither applies it again nor runs ahead to the next."""
    first = make_files(**{"0001_a": "create table a (); select pg_advisory_xact_lock(1)"})
    async with connect(empty_database_url) as gate, connect(empty_database_url) as second:
        await gate.execute("select pg_advisory_lock(1)")
        one = asyncio.create_task(apply(empty.connection, first))
        await until_blocked(gate)
        other = asyncio.create_task(apply(second, make_files(**{"0002_b": "create table b (like a)"})))
        await until_blocked(gate, 2)
        await gate.execute("select pg_advisory_unlock(1)")
        assert [str(m) for m in await one] == ["schema/engine/0001_a.sql"]
        assert [str(m) for m in await other] == ["schema/engine/0002_b.sql"]
