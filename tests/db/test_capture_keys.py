"""Promise: events are keyed by the primary key as text, of whatever type, and a row is found again by it."""

from __future__ import annotations

import pytest

from tests.support.watched import Event, Watched, connect, declare, watching
from worker import Change, Context
from worker.declare.registry import Registry
from worker.testing import bench

# A type as an extension brings one: its operators stand where the trigger does not look.
OWN_TYPE = """
create type code;
create function code_in(cstring) returns code language internal immutable strict as 'int4in';
create function code_out(code) returns cstring language internal immutable strict as 'int4out';
create type code (like = int4, input = code_in, output = code_out);
create function code_eq(code, code) returns bool language internal immutable strict as 'int4eq';
create function code_lt(code, code) returns bool language internal immutable strict as 'int4lt';
create function code_le(code, code) returns bool language internal immutable strict as 'int4le';
create function code_gt(code, code) returns bool language internal immutable strict as 'int4gt';
create function code_ge(code, code) returns bool language internal immutable strict as 'int4ge';
create function code_cmp(code, code) returns int language internal immutable strict as 'btint4cmp';
create operator = (leftarg = code, rightarg = code, function = code_eq, merges);
create operator < (leftarg = code, rightarg = code, function = code_lt);
create operator <= (leftarg = code, rightarg = code, function = code_le);
create operator > (leftarg = code, rightarg = code, function = code_gt);
create operator >= (leftarg = code, rightarg = code, function = code_ge);
create operator class code_ops default for type code using btree as
    operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 code_cmp(code, code);
"""
TYPES = [
    ("bigint", "1", "-9223372036854775808"),
    ("numeric", "12345678901234567890.10", "2"),
    ("double precision", "0.1::float8 + 0.2", "'NaN'"),
    ("text", "e'it''s \"a\" \\\\ b\\n\\tü😀'", "''"),
    ("varchar(9)", "'a'", "'b'"),
    ("char(4)", "'a'", "'b'"),
    ("boolean", "true", "false"),
    ("uuid", "'00000000-0000-0000-0000-00000000002A'", "'00000000-0000-0000-0000-00000000002b'"),
    ("timestamptz", "'2026-03-29 01:30:00.123456+00'", "'2000-02-29 00:00+00'"),
    ("timestamp", "'2026-03-29 02:30'", "'2000-02-29 00:00'"),
    ("date", "'2026-01-02'", "'2000-02-29'"),
    ("interval", "'1 mon'", "'-1 day 01:00'"),
    ("bytea", "'\\x00ff'", "''"),
    ("int[]", "'{1,2}'", "'{}'"),
    ("jsonb", "'{\"a\": [1, null]}'", "'2'"),
    ("tstzrange", "'[2026-01-01,2026-01-02)'", "'empty'"),
    ("inet", "'::1'", "'10.0.0.0/8'"),
    ("mood", "'so so'", "'ok'"),
    ("positive", "1", "2"),
    ("moment", "'2026-01-01 00:00+00'", "'2026-01-02 00:00+00'"),
    ("code", "'7'", "'8'"),
]
TYPE_DEFINITIONS = (
    """create type mood as enum ('so so', 'ok'); create domain positive as int check (value > 0);
    create domain moment as timestamptz;"""
    + OWN_TYPE
)
# What a writer may have set, and a worker has not.
ODD_SESSION = """
set timezone = 'Asia/Kathmandu'; set datestyle = 'SQL, DMY'; set intervalstyle = 'sql_standard';
set bytea_output = 'escape'; set extra_float_digits = 0
"""


@pytest.mark.parametrize(("kind", "first", "second"), TYPES, ids=[kind for kind, _, _ in TYPES])
async def test_a_key_of_any_type_holds_its_events_together(
    database_url: str, kind: str, first: str, second: str
) -> None:
    """The same text in every session; the handler finds the row by it; a changed key is an insert and a delete."""
    tables = f"""{TYPE_DEFINITIONS}
        create table alone (id {kind} primary key, v int);
        create table paired (part int default 1, v int, id {kind}, primary key (id, part))"""
    registry = Registry()
    found: list[tuple[str, str, object]] = []

    async def find(change: Change, ctx: Context) -> None:
        row = await ctx.row(change)
        found.append((change.topic, change.op, row and row["v"]))

    for name in ("alone", "paired"):
        declare(f"public.{name}", f"find_{name}", registry, find)
    async with connect(database_url) as connection:
        await connection.execute(tables.encode())
    async with bench(database_url, *(h.function for h in registry.handlers.values()), declared=registry) as stage:
        for table in ("alone", "paired"):
            await stage.execute("reset all")
            await stage.execute(f"insert into {table} (id, v) values ({first}, 1)")
            await stage.execute(ODD_SESSION)
            await stage.execute(f"update {table} set v = 2")
            await stage.execute("reset all")
            await stage.execute(f"update {table} set id = {second}")
            rows = await stage.execute(
                "select op, key from hearken.events where topic = %s order by id", (f"public.{table}",)
            )
            rows[2:] = sorted(rows[2:], key=lambda row: row["op"], reverse=True)
            assert [row["op"] for row in rows] == ["insert", "update", "insert", "delete"]
            inserted, updated, added, deleted = (row["key"] for row in rows)
            assert inserted == updated == deleted != added
        await stage.drain()
    # By its old key it is gone, by the new one it is there.
    outcome = [("delete", None), ("insert", 2), ("insert", None), ("update", None)]
    assert sorted(found, key=str) == [(f"public.{name}", *o) for name in ("alone", "paired") for o in outcome]


async def test_keys_may_be_swapped(database_url: str) -> None:
    """Rows are paired by key: what stands under each key is what changed."""
    table = "create table places (id int primary key deferrable, name text)"
    async with watching(database_url, table, "public.places") as places:
        await places.captured("insert into places values (1, 'a'), (2, 'b')")
        events = await places.captured("update places set id = 3 - id")
    assert sorted(events, key=lambda e: e.key or "") == [
        Event("update", "1", {"name": "a"}, {"id": 1, "name": "b"}),
        Event("update", "2", {"name": "b"}, {"id": 2, "name": "a"}),
    ]


async def test_keys_may_be_shifted(database_url: str) -> None:
    """Each key is told by what it was and what it is; only the ends appear and disappear."""
    table = "create table places (id int primary key deferrable, name text)"
    async with watching(database_url, table, "public.places") as places:
        await places.captured("insert into places values (1, 'a'), (2, 'b')")
        events = await places.captured("update places set id = id + 1")
    assert sorted((e.op, e.key) for e in events) == [("delete", "1"), ("insert", "3"), ("update", "2")]


async def test_a_changed_key_counts_whatever_is_watched(database_url: str) -> None:
    """The row under the old key is gone, though none of the watched columns changed."""
    table = "create table places (id int primary key, name text, note text)"
    async with watching(database_url, table, "public.places", watch=("note",)) as places:
        await places.captured("insert into places values (1, 'a', 'n'), (2, 'b', 'n')")
        events = await places.captured("update places set id = 9 where id = 1", "update places set name = 'c'")
    assert {(e.op, e.key) for e in events} == {("insert", "9"), ("delete", "1")}


async def test_columns_that_an_index_merely_includes_are_no_key(database_url: str) -> None:
    """PRIMARY KEY … INCLUDE: the key is what is unique."""
    table = "create table places (id int, name text, primary key (id) include (name))"
    async with watching(database_url, table, "public.places") as places:
        events = await places.captured("insert into places values (1, 'a')", "update places set name = 'b'")
    assert [(e.op, e.key) for e in events] == [("insert", "1"), ("update", "1")]


async def test_a_composite_key_is_in_its_own_order(database_url: str) -> None:
    """A JSON array of texts, in the order of the key and not of the table."""
    table = "create table seats (number int, room text, taken bool, primary key (room, number))"
    async with watching(database_url, table, "public.seats") as seats:
        (event,) = await seats.captured("""insert into seats values (7, 'the "blue", [one]')""")
    assert event.key == '["the \\"blue\\", [one]", "7"]'


async def test_rows_move_between_partitions(partitioned: Watched) -> None:
    """To the handler it is an update, unless the partition is part of the key and the key therefore another."""
    await partitioned.captured("insert into bookings values (1, 'x', 'new'), (2, 'y', 'new')")
    events = await partitioned.captured(
        "update bookings set state = 'old' where id = 1",
        "update bookings set guest = 'z' where id = 2",
        "delete from bookings where state = 'old'",
        "truncate bookings",
    )
    assert {e.op for e in events[:2]} == {"insert", "delete"}
    events[:2] = sorted(events[:2], key=lambda event: event.op)
    assert [(e.op, e.key, e.old and e.old.get("guest")) for e in events] == [
        ("delete", '["1", "new"]', "x"),
        ("insert", '["1", "old"]', None),
        ("update", '["2", "new"]', "y"),
        ("delete", '["1", "old"]', "x"),
        ("truncate", None, None),
    ]


@pytest.fixture
async def partitioned(database_url: str):  # type: ignore[no-untyped-def]  # a context manager's own type
    """Bookings in two partitions, the second with its columns in another order."""
    tables = """
        create table bookings (id int, guest text, state text, primary key (id, state)) partition by list (state);
        create table bookings_new partition of bookings for values in ('new');
        create table bookings_old (state text not null, dropped int, id int not null, guest text);
        alter table bookings_old drop column dropped;
        alter table bookings attach partition bookings_old for values in ('old')
    """
    async with watching(database_url, tables, "public.bookings") as watched:
        yield watched
