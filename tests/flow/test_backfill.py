"""Promise: a backfill gives each existing row as its trigger would have written it, whatever its key and types."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.filling import filler, untold
from tests.support.watched import Watched, connect, declare, watching
from worker.capture.catalog import read_table
from worker.errors import InProgress, UsageError
from worker.operate.backfill import Filler
from worker.operate.where import check_condition

IMAGE = "select key, new::text as new, op, target, note from hearken.events where op = %s order by key, id"

# A table, how it is filled with a thousand rows or so, and what never enters the log.
TABLES = {
    "composite": (
        "create table t (a text, b int, c numeric(6, 2), secret text, primary key (b, a))",
        "insert into t select chr(97 + i % 7) || 'é\"''', i / 7, i / 3.0, 'x' from generate_series(1, 300) i",
        ("secret",),
    ),
    "uuid": (
        "create table t (id uuid primary key default gen_random_uuid(), n float8, at timestamptz, i interval)",
        "insert into t (n, at, i) select i / 3.0, now() + i * interval '1 s', i * interval '1 h' "
        "from generate_series(1, 300) i",
        (),
    ),
    "time": (
        "create table t (at timestamptz primary key, raw bytea, doc json, p point)",
        "insert into t select timestamptz '2026-03-29 00:00Z' + i * interval '17 min', '\\x00ff', '{\"b\": 1.50}', "
        "point(i, 1) from generate_series(1, 300) i",
        (),
    ),
    "enum": (
        "create type mood as enum ('z', 'a', 'm'); create table t (m mood, f float8, primary key (m, f))",
        "insert into t select (array['z','a','m']::mood[])[i % 3 + 1], case i when 9 then 'NaN' else i / 7.0 end "
        "from generate_series(1, 300) i",
        (),
    ),
    "char": (
        'create table t (code char(6) collate "C" primary key, g int generated always as (length(code)) stored)',
        "insert into t select case when i % 2 = 0 then upper(to_hex(i)) else to_hex(i * 7919) end "
        "from generate_series(1, 300) i",
        (),
    ),
}


@pytest.mark.parametrize("chosen", TABLES)
async def test_an_event_is_what_the_trigger_writes(database_url: str, chosen: str) -> None:
    """Keys and rows are the same, byte for byte, chunk by chunk; excluded columns stay out."""
    table, rows, exclude = TABLES[chosen]
    async with watching(database_url, table, "public.t", exclude=exclude) as watched:
        await watched.execute("set datestyle = 'German'; set intervalstyle = 'iso_8601'; set timezone = 'Asia/Tokyo'")
        await watched.execute(rows)
        async with filler(database_url, declare("public.t", exclude=exclude), "public.t") as filling:
            await filling.run(chunk=7, rate=None, tell=untold)
        captured = await watched.rows(IMAGE, ("insert",))
        appended = await watched.rows(IMAGE, ("snapshot",))
    assert len(captured) > 200
    assert [(e["key"], e["new"]) for e in appended] == [(e["key"], e["new"]) for e in captured]
    assert {(str(e["target"]), e["note"]["backfill"]["by"]) for e in appended} == {("None", "anna@desk")}


@pytest.fixture
def things() -> tuple[str, str]:
    """A table, and a hundred rows for it that were there before anyone watched."""
    table = "create table things (id int primary key, version int, name text)"
    return table, "insert into things select i, 0, 'n%' || i from generate_series(1, 100) i"


async def keys(watched: Watched) -> list[int]:
    """The keys of the snapshot events, in the order of the log."""
    rows = await watched.rows("select key from hearken.events where op = 'snapshot' order by id")
    return [int(row["key"]) for row in rows]


async def test_a_condition_chooses_rows_and_handlers_are_targets(database_url: str, things: tuple[str, str]) -> None:
    """Also one with a per cent sign, and one that ends in a comment."""
    async with watching(database_url, f"{things[0]}; {things[1]}", "public.things", name="hear") as watched:
        wish = {"condition": "name like 'n%' and r.id % 10 = 0 -- tens", "handlers": ["hear"]}
        async with filler(database_url, declare("public.things"), "public.things", **wish) as filling:
            await filling.run(chunk=3, rate=None, tell=untold)
        assert await keys(watched) == list(range(10, 101, 10))
        assert {str(e["target"]) for e in await watched.rows(IMAGE, ("snapshot",))} == {"['hear']"}


async def begun_and_stopped(filling: Filler) -> None:
    """Cancel it after its first chunk."""
    begun = asyncio.Event()
    running = asyncio.create_task(filling.run(chunk=10, rate=20, tell=lambda *_: begun.set()))
    await begun.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_one_that_was_stopped_goes_on_where_it_was(database_url: str, things: tuple[str, str]) -> None:
    """Cancelled in the middle, and run again: each row once, in order; run once more, each row again."""
    async with watching(database_url, f"{things[0]}; {things[1]}", "public.things") as watched:
        declared = declare("public.things")
        for _ in range(2):
            async with filler(database_url, declared, "public.things") as filling:
                await begun_and_stopped(filling)
            async with filler(database_url, declared, "public.things") as filling:
                assert filling.backfill.resumed
                await filling.run(chunk=10, rate=None, tell=untold)
        assert await keys(watched) == [*range(1, 101), *range(1, 101)]


async def test_two_at_once_of_the_same(database_url: str, things: tuple[str, str]) -> None:
    """The second is told; one of another condition may run beside it."""
    async with watching(database_url, f"{things[0]}; {things[1]}", "public.things"):
        declared = declare("public.things")
        async with filler(database_url, declared, "public.things"):
            with pytest.raises(InProgress):
                async with filler(database_url, declared, "public.things"):
                    pass
            async with filler(database_url, declared, "public.things", condition="id < 5") as other:
                await other.run(chunk=10, rate=None, tell=untold)


@pytest.mark.parametrize(
    "condition",
    [
        "id = 1; delete from things",
        "id = 1) or (true",
        "(id = 1",
        "id = 1 /* ",
        "true order by id",
        "true union all select",
        "nothing = 1",
        "id",
        "",
        "id = $1",
        "count(*) > 1",
    ],
)
async def test_what_is_no_condition_is_refused(database_url: str, things: tuple[str, str], condition: str) -> None:
    """With one line that says what Postgres said; nothing is run."""
    async with connect(database_url) as connection:
        await connection.execute(f"{things[0]}; {things[1]}".encode())
        with pytest.raises(UsageError) as refused:
            await check_condition(connection, await read_table(connection, "public.things"), condition)
        assert "\n" not in str(refused.value)
        row = await (await connection.execute("select count(*) as n from things")).fetchone()
        assert row == {"n": 100}


async def test_a_condition_cannot_write(database_url: str, things: tuple[str, str]) -> None:
    """What a condition calls runs in a transaction that is read-only, and one that fails on a row is said clearly."""
    writing = "create function w() returns bool language sql as 'update things set version = 1 returning true'"
    async with watching(database_url, f"{things[0]}; {things[1]}; {writing}", "public.things") as watched:
        for condition in ("w()", "1 / (id - 50) > -1"):
            async with filler(database_url, declare("public.things"), "public.things", condition=condition) as filling:
                with pytest.raises(UsageError, match=r"read-only|division by zero"):
                    await filling.run(chunk=100, rate=None, tell=untold)
        assert await watched.rows("select 1 from things where version = 1") == []
