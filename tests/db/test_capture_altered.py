"""Promise: the host comes first. Whatever is done to a watched table before `migrate` runs again, its writes pass.

And each change is still told: with its row as it is by then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.watched import Event, Watched, watching

ROOMS = """
create table rooms (id int primary key, name text, price numeric, secret text, at timestamptz default now(),
                    area int generated always as (id * 2) stored)
"""
ALTERED = [
    "alter table rooms drop column price",
    "alter table rooms drop column name",
    "alter table rooms drop column secret",
    "alter table rooms rename column name to title",
    "alter table rooms rename column secret to token",
    "alter table rooms rename column id to number",
    "alter table rooms add column size int default 3",
    'alter table rooms add column x text, add column r text, add column o text, add column "we""ird" json',
    "alter table rooms alter column price type text",
    "alter table rooms alter column name type json using to_json(name)",
    "alter table rooms alter column name type point using null",
    "alter table rooms drop column area; alter table rooms alter column id type text",
    "alter table rooms drop constraint rooms_pkey",
    "alter table rooms drop column area, drop column id",
    "create type mood as enum ('ok'); alter table rooms add column mood mood default 'ok'",
    "create domain short as text check (value <> ''); alter table rooms alter column name type short",
    "alter table rooms set unlogged",
]
WATCHES: dict[str, dict[str, Any]] = {
    "all": {},
    "some": {"watch": ("name", "price")},
    "without": {"exclude": ("secret",)},
}


@pytest.mark.parametrize("options", WATCHES.values(), ids=WATCHES)
@pytest.mark.parametrize("altered", ALTERED)
async def test_every_write_passes_until_the_next_migrate(
    database_url: str, altered: str, options: dict[str, Any]
) -> None:
    """Of one row and of several; from a session that wrote before, whose plans are stale; and each is told."""
    async with watching(database_url, ROOMS, "public.rooms", **options) as rooms:
        await rooms.captured(
            "insert into rooms (id) values (1), (2)", "update rooms set price = 1", "delete from rooms"
        )
        column = "number" if "to number" in altered else "id"
        key = "at" if "drop column id" in altered else column
        values = "(now())" if key == "at" else "('1')"
        events = await rooms.captured(
            *altered.split(";"),
            f"insert into rooms ({key}) values {values}",
            f"insert into rooms ({key}) select {key}::text::{'timestamptz' if key == 'at' else 'int'}"
            f" + {'interval ' + chr(39) + '1 day' + chr(39) if key == 'at' else '1'} from rooms"
            if "type text" not in altered or "column id" not in altered
            else "insert into rooms (id) values ('2')",
            "delete from rooms where ctid = (select min(ctid) from rooms)",
            "delete from rooms",
        )
        uncaptured = await rooms.rows("select * from hearken.uncaptured")
    assert [event.op for event in events] == ["insert", "insert", "delete", "delete"]
    assert uncaptured == []
    assert not any("token" in (e.new or e.old or {}) for e in events if options.get("exclude"))


async def test_an_added_column_is_a_column(database_url: str) -> None:
    """A handler that watches all is told of a change of it alone, before `migrate` and after."""
    async with watching(database_url, ROOMS, "public.rooms") as rooms:
        await rooms.captured("insert into rooms (id) values (1)")
        events = await rooms.captured("alter table rooms add column size int", "update rooms set size = 10")
    assert [(e.op, e.key, e.old) for e in events] == [("update", "1", {"size": None})]


@pytest.mark.parametrize("several", [False, True])
async def test_a_watched_column_that_is_gone_counts_as_changed(database_url: str, several: bool) -> None:
    """Nobody can say that it did not: each update is told until the next `migrate`."""
    async with watching(database_url, ROOMS, "public.rooms", watch=("name",)) as rooms:
        insert = "insert into rooms (id) values (1), (2)" if several else "insert into rooms (id) values (1)"
        await rooms.captured(insert, "alter table rooms rename column name to title")
        events = await rooms.captured("update rooms set price = 2")
    assert [e.op for e in events] == ["update"] * (2 if several else 1)


async def test_a_renamed_secret_stays_out_of_the_log(database_url: str) -> None:
    """Where `exclude=` is used only columns that were known then enter the log."""
    async with watching(database_url, ROOMS, "public.rooms", exclude=("secret",)) as rooms:
        await rooms.execute(
            "alter table rooms rename column secret to token",
            "alter table rooms drop column price",
            "alter table rooms add column name2 text default 'hush'",
            "insert into rooms (id, token) values (1, 'hush')",
            "update rooms set token = 'hush hush', name = 'x'",
            "delete from rooms",
        )
        (log,) = await rooms.rows("select string_agg(e::text, '') as text, count(*) as events from hearken.events e")
    assert log["events"] == 3
    assert "hush" not in log["text"]


async def test_a_renamed_key_keeps_its_rows_together(database_url: str) -> None:
    """Rows are told by the column that is the primary key now."""
    async with watching(database_url, ROOMS, "public.rooms") as rooms:
        events = await rooms.captured(
            "insert into rooms (id) values (1), (2)",
            "alter table rooms rename column id to number",
            "update rooms set name = 'x' where number = 1",
            "update rooms set name = 'y'",
        )
    assert events[2][:2] == ("update", "1")
    assert {e[:2] for e in events[3:]} == {("update", "1"), ("update", "2")}


async def test_a_renamed_table_is_told_until_another_takes_its_name(database_url: str) -> None:
    """The changes of the one that was renamed away are not those of its replacement."""
    async with watching(database_url, ROOMS, "public.rooms") as rooms:
        await rooms.execute("insert into rooms (id) values (1)", "alter table rooms rename to rooms_old")
        await rooms.execute("update rooms_old set name = 'x'")
        await rooms.execute("create table rooms (like rooms_old including all)", "delete from rooms_old")
        await rooms.execute("create schema attic; alter table rooms_old set schema attic", "truncate attic.rooms_old")
        rows = await rooms.rows("select topic, op from hearken.events order by id")
    assert [(row["topic"], row["op"]) for row in rows] == [
        ("public.rooms", "insert"),
        ("public.rooms", "update"),
        ("public.rooms_old", "delete"),
        ("attic.rooms_old", "truncate"),
    ]


CHANGES = st.lists(
    st.sampled_from(
        [
            "alter table rooms add column if not exists c{n} text default 'x'",
            "alter table rooms drop column if exists c{n}",
            "alter table rooms drop column if exists c{n}x{i};"
            " alter table rooms rename column name to c{n}x{i}; alter table rooms add column name text",
            "alter table rooms alter column price type text using price::text",
            "alter table rooms alter column price type numeric using null",
            "update rooms set name = '{i}'",
            "update rooms set name = '{i}' where id = {n}",
            "insert into rooms (id) values ({n}) on conflict do nothing",
            "delete from rooms where id = {n}",
        ]
    ),
    max_size=12,
)


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Watched]:
    """Rooms, every column watched."""
    async with watching(database_url, ROOMS, "public.rooms") as watched:
        yield watched


@given(changes=CHANGES, numbers=st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_course_of_alterations_and_writes_passes(rooms: Watched, changes: list[str], numbers: Any) -> None:
    """And the events, applied one after the other, give the keys that the table has."""
    await rooms.captured("delete from rooms")
    told: set[str | None] = set()
    for i, change in enumerate(changes):
        events: list[Event] = await rooms.captured(*change.format(n=numbers.randint(1, 3), i=i).split(";"))
        for event in events:
            (told.discard if event.op == "delete" else told.add)(event.key)
    there = {row["key"] for row in await rooms.rows("select id::text as key from rooms")}
    assert told == there
    assert await rooms.rows("select * from hearken.uncaptured") == []
