"""Promise: the host comes first. Whatever a row holds, and whatever the log refuses, the application's write passes.

The event has what could be written, and a mark for what could not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from psycopg import sql

from tests.support.watched import Watched, watching

# A type with a cast to JSON that its owner has made, and that says no: as that of PostGIS does for curves.
OWN = """
create type shape as enum ('line', 'curve');
create table called (by text);
create function told(shape) returns json language plpgsql as $$
begin insert into called values (current_user); raise 'curves have no JSON'; end $$;
create cast (shape as json) with function told(shape);
create type framed as (shape shape, name text);
create type shapes as range (subtype = int4);
create function ranged(shapes) returns json language plpgsql as $$ begin raise 'no JSON'; end $$;
create cast (shapes as json) with function ranged(shapes);
create domain curve as shape;
"""
KINDS = {
    "own": ("shape", "'curve'", "'line'", "curve"),
    "array of own": ("shape[]", "'{curve,line}'", "'{}'", ["curve", "line"]),
    "composite of own": ("framed", "'(curve,x)'", "'(line,x)'", "(curve,x)"),
    "domain over own": ("curve", "'curve'", "'line'", "curve"),
    "range": ("shapes", "'[1,2)'", "'[1,3)'", "[1,2)"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("kind", "first", "second", "told"), KINDS.values(), ids=KINDS)
async def test_a_type_whose_json_cannot_be_built_is_told_as_text(
    database_url: str, kind: str, first: str, second: str, told: object, when: str
) -> None:
    """No code of the type's owner runs: for a column that was watched, and for one that was added later."""
    column = f"v {kind}"
    table = f"{OWN} create table things (id int primary key{', ' + column if when == 'before' else ''})"
    async with watching(database_url, table, "public.things") as things:
        if when == "after":
            await things.execute(f"alter table things add column {column}")
        insert, update, delete = await things.captured(
            f"insert into things values (1, {first})", f"update things set v = {second}", "delete from things"
        )
        called = await things.rows("select * from called")
    if when == "after" and isinstance(told, list):
        told = "{curve,line}"  # until the next migrate
    assert (insert.new, update.old, delete.op) == ({"id": 1, "v": told}, {"v": told}, "delete")
    assert called == []


@pytest.mark.parametrize("watch", [None, ("name",)], ids=["all", "some"])
async def test_a_value_too_large_for_the_log_is_left_out_and_marked(
    database_url: str, watch: tuple[str, ...] | None
) -> None:
    """The rest of the row is there, and the event says what is missing. Deletes and bulk statements too."""
    table = "create table files (id int primary key, name text, body bytea)"
    large = "decode(repeat('00', 60000000), 'hex')"
    async with watching(database_url, table, "public.files", watch=watch) as files:
        await files.execute(
            f"insert into files values (1, 'a', {large}), (2, 'b', '')",
            "update files set name = name || '!'",
            "delete from files where id = 1",
        )
        rows = await files.rows("select op, key, new::text as new, old::text as old, left_out from hearken.events")
    marked = {(row["op"], row["key"]) for row in rows if row["left_out"] == ["body"]}
    assert marked == {("insert", "1"), ("update", "1"), ("delete", "1")}
    assert {row["new"] for row in rows if row["op"] == "insert"} >= {'{"id":1,"name":"a"}'}
    assert sorted(row["op"] for row in rows) == ["delete", "insert", "insert", "update", "update"]


async def test_json_of_a_value_may_be_many_times_as_large(database_url: str) -> None:
    """Control characters take six bytes each: a compressed value of some kilobytes may have JSON of many megabytes."""
    table = "create table files (id int primary key, body text, raw jsonb)"
    async with watching(database_url, table, "public.files") as files:
        await files.execute(
            "insert into files values (1, repeat(chr(1), 20000000), to_jsonb(repeat(chr(2), 9000000)))",
            "update files set id = 1, body = body || 'x'",
        )
        rows = await files.rows("select op, left_out from hearken.events order by id")
    assert rows == [{"op": "insert", "left_out": ["body"]}, {"op": "update", "left_out": ["body"]}]


HARMS = {
    "events": "revoke insert on hearken.events from {owner}",
    "sequence": "revoke usage, update on hearken.events_id_seq from {owner}",
    "default partition": "drop table hearken.events_default",
    "schema": "revoke usage on schema hearken from {owner}",
    "schema renamed": "alter schema hearken rename to hearken_away",
}


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[tuple[Watched, str]]:
    """Rooms whose triggers belong to a role that is no superuser."""
    owner = f"owner_{database_url.rsplit('/', 1)[1]}"
    async with watching(database_url, "create table rooms (id int primary key, v int)", "public.rooms") as watched:
        name = sql.Identifier(owner)
        give = sql.SQL("""create role {0}; grant usage, create on schema hearken to {0};
            grant insert, select on hearken.events, hearken.uncaptured to {0};
            grant usage on sequence hearken.events_id_seq to {0}""").format(name)
        await watched.connection.execute(give)
        for row in await watched.rows("select oid::regprocedure::text as f from pg_proc where proname ~ '^capture_'"):
            await watched.execute(f"alter function {row['f']} owner to {owner}")
        yield watched, owner
        await watched.execute(f"reassign owned by {owner} to current_user; drop owned by {owner}; drop role {owner}")


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
async def test_a_log_that_takes_nothing_lets_the_write_pass(rooms: tuple[Watched, str], harm: str) -> None:
    """From a session whose plans are stale, too; and it leaves a trace, or warns where nothing can."""
    watched, owner = rooms
    warnings: list[str] = []
    watched.connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
    await watched.execute("insert into rooms values (1, 1)", "update rooms set v = 2")
    await watched.execute(harm.format(owner=owner), "set hearken.note = 'x'")
    writes = ("insert into rooms values (2, 2), (3, 3)", "update rooms set v = 3", "delete from rooms")
    for write in writes:
        await watched.execute(write)
    await watched.execute("insert into rooms values (4, 4)", "truncate rooms")
    if "rename" in harm:
        await watched.execute("alter schema hearken_away rename to hearken")
    told = await watched.rows("select count(*) from hearken.events where at > now() - interval '1 hour'")
    left = await watched.rows("select topic, op from hearken.uncaptured")
    assert warnings or left or told[0]["count"] >= 7
    if "events" in harm and "sequence" not in harm and "drop" not in harm:
        assert {(row["topic"], row["op"]) for row in left} == {
            ("public.rooms", op) for op in ("insert", "update", "delete", "truncate")
        }


async def test_a_full_queue_of_notifications_is_left_alone(database_url: str) -> None:
    """The bell asks how full it is, since a commit fails when nothing more goes in."""
    async with watching(database_url, "create table rooms (id int primary key)", "public.rooms") as rooms:
        for row in await rooms.rows("select prosrc from pg_proc where proname ~ '^capture_'"):
            assert row["prosrc"].index("pg_notification_queue_usage() <") < row["prosrc"].index("pg_notify(")
