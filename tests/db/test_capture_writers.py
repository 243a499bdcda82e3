"""Promise: whoever may write to a watched table, from whatever session, is captured and not disturbed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import InsufficientPrivilege

from tests.support.watched import Watched, connect, declare, watching
from worker.install import migrations
from worker.install.migrate import migrate

ROOMS = "create table rooms (id int primary key, name text, at timestamptz, blob bytea, length interval, ratio float8)"


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Watched]:
    """Rooms, every column watched."""
    async with watching(database_url, ROOMS, "public.rooms") as watched:
        yield watched


@pytest.fixture
async def role(rooms: Watched) -> AsyncIterator[str]:
    """A role with rights on rooms and no others."""
    name = f"clerk_{uuid4().hex}"
    await rooms.execute(f"create role {name}; grant select, insert, update, delete, truncate on rooms to {name}")
    yield name
    await rooms.execute("reset role", f"drop owned by {name}; drop role {name}")


async def test_a_role_with_rights_on_its_table_alone_is_captured(rooms: Watched, role: str) -> None:
    """It writes as before, without a right in schema hearken, and can neither read nor write the log."""
    await rooms.execute(f"set role {role}", """set hearken.note = '{"by": "clerk"}'""")
    await rooms.execute(
        "insert into rooms (id) values (1)",
        "update rooms set name = 'x'",
        "update rooms set id = 2",
        "delete from rooms",
        "truncate rooms",
    )
    for statement in ("select * from hearken.events", "delete from hearken.cursors", "select hearken.note()"):
        with pytest.raises(InsufficientPrivilege):
            await rooms.execute(statement)
    await rooms.execute("reset role")
    events = await rooms.events()
    assert [e["op"] for e in events] == ["insert", "update", "delete", "insert", "delete", "truncate"]
    assert all(e["note"] == {"by": "clerk"} for e in events)


async def test_a_writer_cannot_slip_its_own_functions_in(rooms: Watched, role: str) -> None:
    """The trigger runs with its owner's rights, and therefore looks up nothing in the writer's search_path."""
    await rooms.execute(
        f"create schema {role} authorization {role}",
        f"set role {role}",
        f"""create function {role}.array_to_string(text[], text) returns text language sql as $$ select '"mine":1' $$;
            create function {role}.eq(int, int) returns bool language sql as 'select false';
            create operator {role}.= (leftarg = int, rightarg = int, function = {role}.eq);
            create table {role}.events (id int)""",
        f"set search_path = {role}, pg_catalog, public",
        "insert into public.rooms (id) values (1)",
        "update public.rooms set name = 'x'",
        "reset search_path",
        "reset role",
    )
    assert [(e.op, e.old) for e in await rooms.captured()] == [("insert", None), ("update", {"name": None})]


async def test_rows_read_the_same_whatever_the_session_is_set_to(rooms: Watched) -> None:
    """Time zone, formats of dates, intervals, floats and bytea, how strings are read, which schemas are searched."""
    insert = """insert into public.rooms values
        ({}, E'a\\\\b', '2026-03-29 00:30:00+00', E'\\\\x00ff', '1 year -2 days 03:00', 0.1::float8 + 0.2)"""
    await rooms.execute(insert.format(1))
    for setting in (
        "timezone = 'Asia/Kathmandu'",
        "datestyle = 'German, DMY'",
        "intervalstyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "extra_float_digits = -15",
        "search_path = ''",
        "escape_string_warning = off",
        "standard_conforming_strings = off",
        "backslash_quote = off",
        "client_encoding = 'latin1'",
        "transform_null_equals = on",
        "xmloption = 'document'",
        "plan_cache_mode = 'force_generic_plan'",
        "enable_hashjoin = off",
        "default_transaction_isolation = 'serializable'",
    ):
        await rooms.execute(f"set {setting}")
    await rooms.execute(insert.format(2), "update public.rooms set name = E'\\\\' where id = 2", "reset all")
    first, second, update = await rooms.captured()
    assert first.new is not None
    assert second.new == {**first.new, "id": 2}
    assert update.new == {**second.new, "name": "\\"}
    assert update.old == {"name": "a\\b"}


@pytest.mark.parametrize(
    ("said", "note"),
    [
        ('{"by": "anna", "why": ["x"]}', {"by": "anna", "why": ["x"]}),
        ("42", 42),
        ("null", None),
        ("", None),
        ("just text", "just text"),
        ("{broken", "{broken"),
        ('{"a": "\\u0000"}', '{"a": "\\u0000"}'),
        ("1e999999", "1e999999"),
        ("[" * 100_000, "[" * 100_000),
    ],
    ids=["object", "number", "null", "empty", "text", "broken", "nul", "overflow", "deep"],
)
async def test_a_note_is_kept_as_json_or_as_text(rooms: Watched, said: str, note: object) -> None:
    """What an application says never breaks its own write."""
    await rooms.rows("select set_config('hearken.note', %s, false)", (said,))
    await rooms.execute("insert into rooms (id) values (1)", "update rooms set name = 'x'", "truncate rooms")
    assert [e["note"] for e in await rooms.events()] == [note] * 3


async def test_note_and_origin_may_be_set_for_one_transaction(rooms: Watched) -> None:
    """They end with it, and a later event of the session has none."""
    await rooms.execute(
        "begin",
        """set local hearken.note = '"import"'""",
        "set local hearken.origin = 'importer'",
        "insert into rooms (id) values (1)",
        "commit",
        "insert into rooms (id) values (2)",
    )
    assert [(e["note"], e["origin"]) for e in await rooms.events()] == [("import", "importer"), (None, None)]


async def test_writers_wait_for_nothing_but_their_rows(rooms: Watched, database_url: str) -> None:
    """Two open transactions write to the same table; neither waits for the other's capture, or for a worker's look."""
    async with connect(database_url) as other, connect(database_url) as reader:
        await other.execute("set lock_timeout = '1s'")
        await rooms.execute("begin", "insert into rooms (id) values (1)")
        await other.execute("begin")
        await other.execute("insert into rooms (id) values (2)")
        await reader.execute("select * from hearken.events")
        await other.commit()
        await rooms.execute("commit")
    assert [e.key for e in await rooms.captured()] == ["1", "2"]


async def test_for_one_row_the_order_of_events_is_that_of_commits(rooms: Watched, database_url: str) -> None:
    """Writers of one row queue for it, and only then append."""
    await rooms.execute("insert into rooms (id, name) values (1, '')")

    async def append(letter: str) -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            for _ in range(20):
                await connection.execute("update rooms set name = name || %s", (letter,))

    await asyncio.gather(*map(append, "abcd"))
    _, *events = await rooms.captured()
    assert len(events) == 80
    for before, after in pairwise(events):
        assert after.old == {"name": before.new and before.new["name"]}


async def test_a_migrating_session_may_be_odd_too(database_url: str) -> None:
    """What is compiled depends on the table and the handlers alone: the same hash from any session."""
    async with connect(database_url) as connection:
        await connection.execute(ROOMS)
        await migrations.apply(connection, migrations.find_migrations([]))
        name = sql.Identifier(connection.info.dbname)
        await connection.execute(sql.SQL("alter database {} set standard_conforming_strings = off").format(name))
        await connection.execute(sql.SQL("alter database {} set search_path = ''").format(name))
    async with connect(database_url) as odd:
        assert (await migrate(odd, declare("public.rooms"))).triggers
    async with connect(database_url) as connection:
        await connection.execute("set standard_conforming_strings = on")
        assert not await migrate(connection, declare("public.rooms"))
        await connection.execute(r"""insert into public.rooms (id, name) values (1, '\')""")
        assert [e.new and e.new["name"] for e in await Watched(connection).captured()] == ["\\"]
