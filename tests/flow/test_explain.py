"""Promise: what is told of a key is what the database has of it, without what a handler keeps out of the log."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from worker.change import Change, changed_columns
from worker.declare.registry import Registry
from worker.deliver.context import Context
from worker.operate.explain import read_history
from worker.operate.keys import read_key
from worker.testing import bench

declared = Registry()


@declared.on("public.seats", exclude=("secret",), shards=3)
async def seat(change: Change, ctx: Context) -> None:
    """Hear of seats."""


TABLE = """
create table seats (room int, name text, secret text, price numeric, primary key (room, name))
"""


async def test_of_a_sharded_handler_and_a_composite_key(database_url: str) -> None:
    """The shard's own cursor tells what is delivered; a column that is excluded is nowhere."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(TABLE)
    async with bench(database_url, seat, declared=declared) as seats:
        await seats.execute("insert into seats values (7, 'a', 'hush', 1.50), (7, 'b', 'hush', 2)")
        await seats.drain()
        await seats.execute("update seats set price = 1.75, secret = 'louder' where name = 'a'")
        key = await read_key(seats.connection, "public.seats", '["7","a"]')
        handlers = declared.handlers.values()
        told = await read_history(seats.connection, "public.seats", key, handlers, since=None, limit=10)
    assert [(d.event_id, d.state) for d in told.deliveries] == [(1, "delivered"), (3, "waiting")]
    assert [str(value) for value in told.timeline[1].facts["changed"]["price"]] == ["1.50", "1.75"]
    assert (told.row or {}).keys() == {"room", "name", "price"}
    assert "hush" not in str(told)
    assert "louder" not in str(told)


async def test_of_a_tick_there_is_no_row(database_url: str) -> None:
    """A topic without a table: all its events, with or without a key."""
    async with bench(database_url, declared=declared) as stage:
        for key in ("a", "b"):
            await stage.execute("insert into hearken.events (topic, op, key) values ('tick/x', 'tick', %s)", (key,))
        every = await read_history(stage.connection, "tick/x", None, [], since=None, limit=10)
        one = await read_history(stage.connection, "tick/x", "b", [], since=None, limit=10)
    assert [entry.facts["key"] for entry in every.timeline] == ["a", "b"]
    assert ([entry.facts["key"] for entry in one.timeline], one.row, one.is_table) == (["b"], None, False)


@pytest.mark.parametrize(
    ("op", "old", "new", "changed"),
    [
        ("update", {"a": 1, "b": None}, {"a": 2, "b": 3, "c": 4}, {"a": [1, 2], "b": [None, 3]}),
        ("insert", None, {"a": 1, "b": None}, {"a": [None, 1]}),
        ("delete", {"a": 1}, None, {"a": [1, None]}),
        ("truncate", None, None, {}),
        ("request", None, [1], {}),
    ],
)
def test_differences(op: str, old: Any, new: Any, changed: dict[str, Any]) -> None:
    """Of an update what it changed, of an insert and a delete what came and went."""
    assert changed_columns(op, old, new) == changed
