"""Promise: a handler hears of every change of a column that it watches, and of no other."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from worker.change import Change
from worker.declare.registry import Registry
from worker.deliver.context import Context
from worker.testing import bench

declared = Registry()
given: list[tuple[Any, Any]] = []


@declared.on("public.rooms", watch=("price",), ops=("update",))
async def reprice(change: Change, ctx: Context) -> None:
    """Write down the price before and after."""
    assert change.old is not None
    assert change.new is not None
    given.append((change.old["price"], change.new["price"]))


@declared.on("public.rooms", ops=("update",))
async def listen(change: Change, ctx: Context) -> None:
    """Hears of everything, so that changes of other columns are in the log too."""


@pytest.mark.parametrize(("before", "after"), [(None, 5), (5, None), (5, 6)])
async def test_a_watched_column_may_be_null_before_or_after(
    database_url: str, before: int | None, after: int | None
) -> None:
    """NULL is a value like any other: `old` names the column, and the handler is called."""
    given.clear()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("create table rooms (id int primary key, name text, price int)")
        await connection.execute("insert into rooms values (1, 'blue', %s)", (before,))
    async with bench(database_url, reprice, listen, declared=declared) as rooms:
        await rooms.execute("update rooms set name = 'red'")
        await rooms.execute("update rooms set price = %s", (after,))
        await rooms.drain()
    assert given == [(before, after)]
