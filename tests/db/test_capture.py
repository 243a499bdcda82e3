"""Promise: what a transaction commits in a watched table is in the log, once, and nothing else is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from psycopg.errors import DivisionByZero

from tests.support.watched import Event, Watched, watching

ROOMS = """
create table rooms (id int primary key, name text, price numeric(10, 2), seats int);
create table plans (id int primary key, name text)
"""


@pytest.fixture
async def rooms(database_url: str) -> AsyncIterator[Watched]:
    """Rooms whose name and price are watched."""
    async with watching(database_url, ROOMS, "public.rooms", watch=("name", "price")) as watched:
        yield watched


async def test_an_insert_is_captured_with_its_row(rooms: Watched) -> None:
    """One event per row, however many rows one statement writes."""
    assert await rooms.captured("insert into rooms values (1, 'blue', 25, 10), (2, null, null, null)") == [
        Event("insert", "1", None, {"id": 1, "name": "blue", "price": 25, "seats": 10}),
        Event("insert", "2", None, {"id": 2, "name": None, "price": None, "seats": None}),
    ]


async def test_an_update_tells_what_differs_and_nothing_more(rooms: Watched) -> None:
    """`old` has the former values of the changed columns, unwatched ones too; `new` is the whole row."""
    await rooms.captured("insert into rooms values (1, 'blue', 25, 10)")
    assert await rooms.captured("update rooms set price = 30, seats = 12") == [
        Event("update", "1", {"price": 25, "seats": 10}, {"id": 1, "name": "blue", "price": 30, "seats": 12})
    ]


async def test_a_delete_tells_the_whole_row(rooms: Watched) -> None:
    """`old` is the row that is gone."""
    await rooms.captured("insert into rooms values (1, 'blue', 25, 10)")
    assert await rooms.captured("delete from rooms") == [
        Event("delete", "1", {"id": 1, "name": "blue", "price": 25, "seats": 10})
    ]


async def test_a_truncate_is_one_event_without_a_key(rooms: Watched) -> None:
    """No rows are known of a TRUNCATE, so it is told as it is."""
    await rooms.captured("insert into rooms (id) values (1), (2)")
    assert await rooms.captured("truncate rooms") == [Event("truncate", None)]


@pytest.mark.parametrize(
    "statement",
    [
        "update rooms set seats = seats + 1",
        "update rooms set name = name, price = price",
        "update rooms set price = 25.000",
        "update rooms set name = 'green' where false",
        "delete from rooms where false",
        "insert into rooms select * from rooms where false",
        "update plans set name = 'x'",
    ],
)
async def test_what_changes_nothing_watched_makes_no_event(rooms: Watched, statement: str) -> None:
    """Other columns, equal values, no rows, other tables: the log stays as it is."""
    await rooms.captured("insert into rooms values (1, 'blue', 25, 10)", "insert into plans values (1, 'p')")
    assert await rooms.captured(statement) == []


@pytest.mark.parametrize(("before", "after"), [("null", "'x'"), ("'x'", "null"), ("''", "null")])
async def test_null_is_a_value_like_any_other(rooms: Watched, before: str, after: str) -> None:
    """From and to NULL is a change, and `old` names the column."""
    await rooms.captured(f"insert into rooms values (1, {before})")
    (event,) = await rooms.captured(f"update rooms set name = {after}")
    assert event.old == {"name": None if before == "null" else before.strip("'")}


async def test_what_triggers_before_change_is_seen(rooms: Watched) -> None:
    """A column that a BEFORE trigger changes counts, though the statement does not name it; a row it drops does not."""
    await rooms.execute("""
        create function dear() returns trigger language plpgsql as
        $$ begin if new.seats < 0 then return null; end if; new.price := new.seats * 2; return new; end $$;
        create trigger dear before insert or update on rooms for each row execute function dear()
    """)
    assert [e.new for e in await rooms.captured("insert into rooms values (1, 'blue', 0, 4), (2, 'red', 0, -1)")] == [
        {"id": 1, "name": "blue", "price": 8, "seats": 4}
    ]
    (event,) = await rooms.captured("update rooms set seats = 5")
    assert event.old == {"price": 8, "seats": 4}


async def test_an_upsert_is_told_as_what_it_did(rooms: Watched) -> None:
    """INSERT … ON CONFLICT: a new row is an insert, an existing one an update, one left alone nothing."""
    await rooms.captured("insert into rooms (id, name) values (1, 'blue'), (2, 'red')")
    events = await rooms.captured(
        "insert into rooms (id, name) values (1, 'green'), (2, 'red'), (3, 'new')"
        " on conflict (id) do update set name = excluded.name",
        "insert into rooms (id, name) values (1, 'other') on conflict do nothing",
    )
    assert sorted((e.op, e.key, e.old) for e in events) == [("insert", "3", None), ("update", "1", {"name": "blue"})]


async def test_a_merge_is_told_as_what_it_did(rooms: Watched) -> None:
    """MERGE: each row by the action taken for it."""
    await rooms.captured("insert into rooms (id, name) values (1, 'blue'), (2, 'red')")
    events = await rooms.captured("""
        merge into rooms using (values (1, 'green'), (2, ''), (3, 'new')) as wish (id, name) on rooms.id = wish.id
        when matched and wish.name = '' then delete
        when matched then update set name = wish.name
        when not matched then insert (id, name) values (wish.id, wish.name)
    """)
    assert sorted((e.op, e.key) for e in events) == [("delete", "2"), ("insert", "3"), ("update", "1")]


async def test_a_copy_is_captured(rooms: Watched) -> None:
    """COPY is as good as an INSERT."""
    async with (
        rooms.connection.cursor() as cursor,
        cursor.copy("copy rooms (id, name) from stdin") as copy,
    ):
        await copy.write_row((1, "blue"))
        await copy.write_row((2, "red"))
    assert [(e.op, e.key) for e in await rooms.captured()] == [("insert", "1"), ("insert", "2")]


async def test_rolled_back_changes_leave_no_event(rooms: Watched) -> None:
    """Neither a transaction's, nor a savepoint's, nor those of a statement that failed half-way."""
    assert await rooms.captured(
        "begin",
        "insert into rooms (id) values (1)",
        "savepoint later",
        "insert into rooms (id) values (2)",
        "rollback to later",
        "insert into rooms (id) values (3)",
        "commit",
        "begin",
        "insert into rooms (id) values (4)",
        "rollback",
    ) == [
        Event("insert", "1", None, {"id": 1, "name": None, "price": None, "seats": None}),
        Event("insert", "3", None, {"id": 3, "name": None, "price": None, "seats": None}),
    ]
    with pytest.raises(DivisionByZero):
        await rooms.execute("insert into rooms (id, seats) values (5, 1), (6, 1 / (select 0))")
    assert await rooms.captured() == []


async def test_the_events_of_a_row_are_in_the_order_of_its_changes(rooms: Watched) -> None:
    """Within one transaction too; and all of them carry its number."""
    await rooms.execute(
        "begin",
        "insert into rooms (id, name) values (1, 'a')",
        "update rooms set name = 'b'",
        "update rooms set name = 'c'",
        "delete from rooms",
        "insert into rooms (id, name) values (1, 'd')",
        "commit",
    )
    events = await rooms.events()
    assert [e["op"] for e in events] == ["insert", "update", "update", "delete", "insert"]
    assert len({e["tx"] for e in events}) == 1


async def test_a_row_updated_twice_by_one_statement_ends_as_it_is(database_url: str) -> None:
    """Two foreign keys that are set to null one after the other: the last event has the final row."""
    table = """create table people (id int primary key, mother int references people on delete set null,
                                    father int references people on delete set null)"""
    async with watching(database_url, table, "public.people") as people:
        await people.captured("insert into people values (1), (2)", "insert into people values (3, 1, 2), (4, 1, 2)")
        events = await people.captured("delete from people where id in (1, 2)")
    for key in ("3", "4"):
        told = [event for event in events if event.key == key]
        assert told[-1].new == {"id": int(key), "mother": None, "father": None}
        assert {column for event in told for column in event.old or ()} == {"mother", "father"}


async def test_many_rows_after_single_ones_are_captured_in_no_time(database_url: str) -> None:
    """The trigger's plan, kept for the session, suits one row and 20,000: pairing them is no nested loop."""
    table = (
        "create table many (id int primary key, v int); insert into many select i, 0 from generate_series(1, 20000) i"
    )
    async with watching(database_url, table, "public.many") as many:
        for number in range(8):
            await many.execute(f"update many set v = 1 where id = {number}")
        await many.execute("set statement_timeout = '5s'", "update many set v = v + 1")
        assert len(await many.events()) == 20007
