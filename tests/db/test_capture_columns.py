"""Promise: any table can be watched: whatever its columns are called, of whatever type, however many and large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import FAST
from tests.support.watched import Event, connect, watching
from worker import Change, Context
from worker.change import parse
from worker.declare.registry import Registry
from worker.dev.embedded import EmbeddedPostgres
from worker.testing import bench

# Names that mean something in the trigger, or to whoever puts statements together.
ODD_NAMES = [
    *("r", "o", "note", "origin", "op", "key", "captured", "rekeyed", "topic", "old", "new", "kept", "new_rows"),
    *('we"ird', "it's", "back\\slash", "100% {0} %s $1", "ünï cödé", "Mixed Case", "select", "--"),
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("exclude", [(), ("op",)], ids=["whole", "part"])
async def test_odd_names_are_names_like_any_other(database_url: str, exclude: tuple[str, ...]) -> None:
    """Quotes, keywords, variables of the trigger, placeholders: in column, table and schema names."""
    schema, table = "My Schema", 'we"ird %s {table}'
    place = f"{quoted(schema)}.{quoted(table)}"
    columns = ", ".join(f"{quoted(name)} text" for name in ODD_NAMES)
    create = f"create schema {quoted(schema)}; create table {place} ({quoted('I d')} int primary key, {columns})"
    shown = [name for name in ODD_NAMES if name not in exclude]
    async with watching(database_url, create, f"{schema}.{table}", exclude=exclude) as odd:
        events = await odd.captured(
            f"insert into {place} ({quoted('I d')}) values (1)",
            f"update {place} set {', '.join(f'{quoted(name)} = {number}' for number, name in enumerate(ODD_NAMES))}",
            f"update {place} set {quoted('I d')} = 2",
            f"delete from {place}",
            f"truncate {place}",
        )
        (topic,) = await odd.rows("select distinct topic from hearken.events")
    empty: dict[str, Any] = dict.fromkeys(shown)
    full = {name: str(number) for number, name in enumerate(ODD_NAMES) if name in shown}
    assert topic["topic"] == 'My Schema.we"ird %s {table}'
    assert events == [
        Event("insert", "1", None, {"I d": 1, **empty}),
        Event("update", "1", empty, {"I d": 1, **full}),
        Event("delete", "1", {"I d": 1, **full}),
        Event("insert", "2", None, {"I d": 2, **full}),
        Event("delete", "2", {"I d": 2, **full}),
        Event("truncate", None),
    ]


TYPES = {
    "citext-like": ("caseless", "'a'", "'A'"),  # its own equality would hide the change
    "interval": ("interval", "'1 mon'", "'30 days'"),  # equal, and not the same
    "json": ("json", "'[1]'", "'[2]'"),
    "jsonb": ("jsonb", "'{\"a\": 1}'", "'{\"a\": null}'"),
    "json array": ("json[]", "'{\"[1]\"}'", "'{}'"),
    "array": ("int[]", "'{1,null}'", "'{1}'"),
    "enum array": ("mood[]", "'{ok}'", "'{sad}'"),
    "point": ("point", "'(1,2)'", "'(1,3)'"),
    "composite": ("pair", "'(1,x)'", "'(1,\"y, z\")'"),
    "range": ("int4range", "'[1,2)'", "'[1,3)'"),
    "bytea": ("bytea", "'\\x00'", "'\\x0001'"),
    "float": ("float8", "'NaN'", "'-Infinity'"),
    "domain": ("short", "'a'", "'b'"),
    "money": ("money", "'1'", "'2'"),
    "bits": ("varbit", "'101'", "'1010'"),
    "tsvector": ("tsvector", "'a'", "'b'"),
    "text": ("text", "e'\\t\"\\\\\\n'", "'\u2028 \U0001f600'"),
}
TYPE_DEFINITIONS = """
create type mood as enum ('ok', 'sad'); create type pair as (a int, b text);
create domain short as varchar(3); create type caseless;
create function caseless_in(cstring) returns caseless language internal immutable strict as 'textin';
create function caseless_out(caseless) returns cstring language internal immutable strict as 'textout';
create type caseless (input = caseless_in, output = caseless_out, storage = extended);
create function caseless_eq(caseless, caseless) returns bool language sql immutable as 'select true';
create operator = (leftarg = caseless, rightarg = caseless, function = caseless_eq);
"""


@pytest.mark.parametrize(("kind", "first", "second"), TYPES.values(), ids=TYPES)
async def test_a_change_of_any_type_is_seen(database_url: str, kind: str, first: str, second: str) -> None:
    """Also where the type has no equality, or one that hides a difference; and an equal value is no change."""
    table = f"{TYPE_DEFINITIONS} create table things (id int primary key, v {kind})"
    async with watching(database_url, table, "public.things", watch=("v",)) as things:
        inserted, updated = await things.captured(
            f"insert into things values (1, {first})",
            f"update things set v = {first}",
            f"update things set v = {second}",
        )
    assert inserted.new is not None
    assert updated.new is not None
    assert updated.old == {"v": inserted.new["v"]}
    assert updated.new["v"] != inserted.new["v"]


async def test_stored_generated_columns_are_captured(database_url: str) -> None:
    """They can be watched like any other column."""
    table = "create table boxes (id int primary key, a int, area int generated always as (a * a) stored)"
    async with watching(database_url, table, "public.boxes", watch=("area",)) as boxes:
        events = await boxes.captured(
            "insert into boxes values (1, 2)", "update boxes set a = -2", "update boxes set a = 3"
        )
    assert [(e.op, e.old) for e in events] == [("insert", None), ("update", {"a": -2, "area": 4})]


async def test_virtual_generated_columns_do_not_break_their_table(server_directory: Path) -> None:
    """Postgres 18 computes them when read, and not for a trigger: they are left out of the log."""
    table = "create table boxes (id int primary key, a int, area int generated always as (a * a) virtual, b int)"
    with EmbeddedPostgres(server_directory / "postgres", version=18, settings=FAST) as server:
        async with watching(server.url, table, "public.boxes") as boxes:
            events = await boxes.captured(
                "insert into boxes (id, a) values (1, 2)", "update boxes set a = 3", "delete from boxes"
            )
    assert events == [
        Event("insert", "1", None, {"id": 1, "a": 2, "b": None}),
        Event("update", "1", {"a": 2}, {"id": 1, "a": 3, "b": None}),
        Event("delete", "1", {"id": 1, "a": 3, "b": None}),
    ]


async def test_a_table_may_have_very_many_columns(database_url: str) -> None:
    """More than a function may have arguments (100)."""
    names = [f"column_{number}" for number in range(400)]
    table = f"create table wide (id int primary key, {', '.join(f'{name} int' for name in names)})"
    async with watching(database_url, table, "public.wide") as wide:
        _, event = await wide.captured(
            "insert into wide (id) values (1)", f"update wide set {', '.join(f'{name} = 7' for name in names[1:])}"
        )
    assert event.old == dict.fromkeys(names[1:])
    assert event.new == {"id": 1, names[0]: None, **dict.fromkeys(names[1:], 7)}


async def test_huge_values_are_captured_whole(database_url: str) -> None:
    """Megabytes of what needs escaping, stored out of line."""
    value = '"\\\n\t\u00fc\U0001f600' * 200_000
    async with watching(database_url, "create table big (id int primary key, v text, n int)", "public.big") as big:
        await big.connection.execute("insert into big values (1, %s, 1)", (value,))
        inserted, unchanged, updated = await big.captured("update big set n = 2", "update big set v = v || 'x'")
    assert inserted.new == {"id": 1, "v": value, "n": 1}
    assert (unchanged.old, updated.old) == ({"n": 1}, {"v": value})
    assert updated.new == {"id": 1, "v": value + "x", "n": 2}


async def test_excluded_columns_are_nowhere_in_the_log(database_url: str) -> None:
    """Neither in `new` nor in `old`, and a change of them alone makes no event."""
    table = "create table users (id int primary key, name text, secret text, token text)"
    async with watching(database_url, table, "public.users", exclude=("secret", "token")) as users:
        events = await users.captured(
            "insert into users values (1, 'a', 'hush-1', 'hush-2')",
            "update users set secret = 'hush-3'",
            "update users set name = 'b', token = 'hush-4'",
            "update users set id = 2",
            "delete from users",
        )
        rows = await users.rows("select events::text as text from hearken.events")
    assert [e.op for e in events] == ["insert", "update", "delete", "insert", "delete"]
    assert not any("hush" in row["text"] or "secret" in row["text"] for row in rows)


@pytest.mark.parametrize("value", ['{"a": "\\u0000"}', '{"a": 1e999999}', "[1e-999999]"])
async def test_json_that_jsonb_cannot_hold_is_delivered(database_url: str, value: str) -> None:
    """A column of type json takes it, so its event must not stop the handler that watches the column."""
    registry = Registry()
    given: list[object] = []

    @registry.on("public.documents", watch=("body",))
    async def read(change: Change, ctx: Context) -> None:
        given.append(change.old)

    async with connect(database_url) as connection:
        await connection.execute("create table documents (id int primary key, body json)")
    async with bench(database_url, read, declared=registry) as stage:
        await stage.execute("insert into documents values (1, %s)", (value,))
        await stage.execute("update documents set body = '{}'")
        await stage.drain()
        assert await stage.parked() == []
    assert [*map(str, given)] == [*map(str, [None, {"body": parse(value)}])]


async def test_a_column_added_later_does_not_break_the_writers(database_url: str) -> None:
    """It is a column like any other, before `migrate` is run again too."""
    async with watching(database_url, "create table rooms (id int primary key, v int)", "public.rooms") as rooms:
        await rooms.captured("insert into rooms values (1, 1)", "update rooms set v = 2")
        _, added, event = await rooms.captured(
            "update rooms set v = 3",
            "alter table rooms add column w int default 7",
            "update rooms set w = 8",
            "alter table rooms alter v type bigint",
            "update rooms set v = 4, w = 9",
        )
    assert added == Event("update", "1", {"w": 7}, {"id": 1, "v": 3, "w": 8})
    assert event == Event("update", "1", {"v": 3, "w": 8}, {"id": 1, "v": 4, "w": 9})
