"""Promise: no change is lost in silence because of a table's kin, another handler's wishes, or how a key is written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.watched import connect, declare, nothing, watching
from worker import Change, Context
from worker.declare.registry import Registry
from worker.errors import WatchError
from worker.install.migrate import find_pending, migrate
from worker.testing import bench

KIN = """
create table orders (id int, at date, primary key (id, at)) partition by range (at);
create table orders_2026 partition of orders for values from ('2026-01-01') to ('2027-01-01');
create table cars (id int primary key, n int); create table vans (primary key (id)) inherits (cars);
create table loose (id int, at date, primary key (id, at))
"""


@pytest.mark.parametrize(("child", "parent"), [("orders_2026", "orders"), ("vans", "cars")])
async def test_a_part_of_another_table_is_refused(database_url: str, child: str, parent: str) -> None:
    """What is written through the parent fires no trigger of the child: the message says what to watch."""
    async with connect(database_url) as connection:
        await connection.execute(KIN.encode())
        with pytest.raises(WatchError, match=rf"public\.{child} is a partition or child of {parent}.*Watch {parent}"):
            await migrate(connection, declare(f"public.{child}"))


async def test_a_table_that_becomes_a_partition_is_refused_from_then_on(database_url: str) -> None:
    """By whatever looks at its triggers: `migrate`, `run`, `/readyz`, `doctor`."""
    async with watching(database_url, KIN, "public.loose") as loose:
        assert [e.op for e in await loose.captured("insert into loose values (1, '2025-01-01')")] == ["insert"]
        await loose.execute(
            "alter table orders attach partition loose for values from ('2025-01-01') to ('2026-01-01')"
        )
        with pytest.raises(WatchError, match=r"public\.loose is a partition"):
            await find_pending(loose.connection, declare("public.loose"))


async def test_a_parent_hears_what_is_written_through_it(database_url: str) -> None:
    """Into partitions attached later, and rows of inheritance children too."""
    async with watching(database_url, KIN, "public.orders") as orders:
        await orders.migrate(declare("public.cars", "cars", declare("public.orders")))
        events = await orders.captured(
            "create table orders_2027 partition of orders for values from ('2027-01-01') to ('2028-01-01')",
            "insert into orders values (1, '2027-01-01'), (2, '2026-01-01')",
            "insert into vans values (7, 1)",
            "update cars set n = 2",
            "delete from cars",
        )
    assert sorted((e.op, e.key) for e in events) == [
        ("delete", "7"),
        ("insert", '["1", "2027-01-01"]'),
        ("insert", '["2", "2026-01-01"]'),
        ("update", "7"),
    ]


async def test_what_one_handler_excludes_changes_for_another(database_url: str) -> None:
    """One that watches all is told, without the value; the one that excludes the column is not."""
    registry = Registry()
    given: list[tuple[str, str, Any]] = []

    async def keep(change: Change, ctx: Context) -> None:
        given.append((ctx.handler, change.op, change.old))

    declare("public.users", "blind", registry, keep, exclude=("secret",))
    declare("public.users", "whole", registry, keep)
    declare("public.users", "named", registry, keep, watch=("name",))
    async with connect(database_url) as connection:
        await connection.execute("create table users (id int primary key, name text, secret text)")
    async with bench(database_url, *(h.function for h in registry.handlers.values()), declared=registry) as stage:
        await stage.execute("insert into users values (1, 'a', 'hush')")
        await stage.drain()
        given.clear()
        await stage.execute("update users set secret = 'hush hush'")
        await stage.drain()
        assert given == [("whole", "update", {})]
        given.clear()
        await stage.execute("update users set name = 'b'")
        await stage.drain()
        assert sorted(given) == [(name, "update", {"name": "a"}) for name in ("blind", "named", "whole")]
        (log,) = await stage.execute("select string_agg(e::text, '') as text from hearken.events e")
    assert "hush" not in log["text"]


EQUAL = {
    "numeric": ("numeric", "1.00", "1.0", "1"),
    "whole numeric": ("numeric", "100", "100.0", "100"),
    "domain over numeric": ("amount", "2.50", "2.5", "2.5"),
    "float": ("float8", "0", "'-0'", "0"),
    "interval": ("interval", "'1 mon'", "'30 days'", "1 mon"),
    "padded": ("char(4)", "'a'", "'a '", "a"),
    "numeric with scale": ("numeric(6, 3)", "1.5", "1.50", "1.5"),
    "uuid": ("uuid", "'00000000-0000-0000-0000-00000000002A'", "'0000000000000000000000000000002a'", None),
    "time with a zone": ("timestamptz", "'2026-01-01 00:00+00'", "'2026-01-01 01:00+01'", "2026-01-01 00:00:00+00"),
}


@pytest.mark.parametrize("several", [False, True], ids=["alone", "paired"])
@pytest.mark.parametrize(("kind", "first", "second", "key"), EQUAL.values(), ids=EQUAL)
async def test_equal_keys_are_one_key(
    database_url: str, kind: str, first: str, second: str, key: str | None, several: bool
) -> None:
    """However they were written: an update stays an update, and its text is the same."""
    columns = (
        "(part int default 1, id {0}, v int, primary key (part, id))" if several else "(id {0} primary key, v int)"
    )
    table = f"create domain amount as numeric; create table things {columns.format(kind)}"
    async with watching(database_url, table, "public.things") as things:
        events = await things.captured(
            f"insert into things (id, v) values ({first}, 1)", f"update things set id = {second}, v = 2"
        )
    assert [e.op for e in events] == ["insert", "update"]
    assert events[0].key == events[1].key
    if key is not None:
        assert events[0].key == (f'["1", "{key}"]' if several else key)


async def test_a_key_with_several_spellings_is_refused(database_url: str) -> None:
    """A nondeterministic collation takes a and A for one key, and an event has one text for it."""
    async with connect(database_url) as connection:
        # As ICU has them, with which the embedded server is not built.
        await connection.execute("create collation loose (provider = libc, locale = 'C')")
        await connection.execute("update pg_collation set collisdeterministic = false where collname = 'loose'")
        await connection.execute("create table tags (id text collate loose primary key)")
        with pytest.raises(WatchError, match=r"primary key of public\.tags has a nondeterministic collation \(id\)"):
            await migrate(connection, declare("public.tags", call=nothing))


@pytest.mark.parametrize("deferred", ["immediate", "deferred"])
async def test_deferrable_keys_may_meet_for_a_moment(database_url: str, deferred: str) -> None:
    """Two rows with one key, until the transaction ends: no write fails, and each key that is there has been told."""
    table = f"create table places (id int primary key deferrable initially {deferred}, name text)"
    async with watching(database_url, table, "public.places") as places:
        await places.captured("insert into places values (1, 'a'), (2, 'b')")
        await places.execute("begin")
        await places.execute(
            "update places set id = 3 - id",
            *(
                ["update places set id = 1", "update places set id = 5 where name = 'a'"]
                if deferred == "deferred"
                else []
            ),
            "commit",
        )
        events = await places.captured()
        rows = await places.rows("select id::text as key from places")
    assert {event.key for event in events if event.op != "delete"} >= {row["key"] for row in rows}
