"""Writers that are up to no good: at once, long, rolled back, in savepoints, with deletes and changed keys.

What they have committed stands in the table `truth`, written by the same transactions: the events that must come.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection

from tests.support.things import connect
from tests.support.waiting import some_moment

KEYS = 8

# A key's row in `turns` is locked before the key is touched: `turn` is its place in the order of commits.
TABLES: LiteralString = """
create table turns (key integer primary key, turn integer not null);
create table truth (key integer, turn integer, op text, version integer)
"""
TURN: LiteralString = """
insert into turns values (%s, 1) on conflict (key) do update set turn = turns.turn + 1 returning turn
"""
SESSION: LiteralString = "select set_config('deadlock_timeout', '20ms', false)"
# What a writer runs into because others write the same keys: its transaction is rolled back, as an application's would.
COLLISIONS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
HISTORY: LiteralString = "select key::text, op, version from truth order by key, turn, op"

Events = dict[str, list[tuple[str, int]]]


class GiveUp(Exception):
    """The transaction, or the savepoint, is to be rolled back."""


class Writer:
    """One connection that commits transactions made up by `chance`."""

    def __init__(self, connection: AsyncConnection[Any], chance: random.Random) -> None:
        self._connection = connection
        self._chance = chance

    async def write(self, transactions: int) -> None:
        """So many, some of which come to nothing."""
        await self._connection.execute(SESSION)
        for _ in range(transactions):
            try:
                async with self._connection.transaction():
                    await self._transaction()
            except (GiveUp, *COLLISIONS):
                pass

    async def _transaction(self) -> None:
        if self._chance.random() < 0.2:
            await self._connection.execute("set transaction isolation level repeatable read")
        for _ in range(self._chance.choice((1, 1, 2, 4))):
            if self._chance.random() < 0.3:
                await self._in_a_savepoint()
            else:
                await self._change()
            if self._chance.random() < 0.1:
                await some_moment(self._chance, 0.2)
        if self._chance.random() < 0.15:
            raise GiveUp

    async def _in_a_savepoint(self) -> None:
        try:
            async with self._connection.transaction():
                await self._change()
                if self._chance.random() < 0.5:
                    raise GiveUp
        except GiveUp:
            pass

    async def _change(self) -> None:
        changes: Sequence[Callable[[], Awaitable[None]]] = (
            self._put,
            self._put,
            self._put_many,
            self._delete,
            self._replace,
            self._rename,
        )
        await self._chance.choice(changes)()

    def _key(self) -> int:
        return self._chance.randrange(KEYS)

    async def _one(self, query: LiteralString, *parameters: object) -> Any:
        row = await (await self._connection.execute(query, parameters)).fetchone()
        return None if row is None else row[0]

    async def _turn(self, key: int) -> int:
        turn: int = await self._one(TURN, key)
        return turn

    async def _version(self, key: int) -> int | None:
        version: int | None = await self._one("select version from things where id = %s", key)
        return version

    async def _happened(self, key: int, turn: int, op: str, version: int) -> None:
        await self._connection.execute("insert into truth values (%s, %s, %s, %s)", (key, turn, op, version))

    async def _put(self) -> None:
        key = self._key()
        turn = await self._turn(key)
        op = "insert" if await self._version(key) is None else "update"
        await self._connection.execute(
            "insert into things values (%s, %s) on conflict (id) do update set version = excluded.version", (key, turn)
        )
        await self._happened(key, turn, op, turn)

    async def _put_many(self) -> None:
        """Several rows by one statement."""
        turns = {key: await self._turn(key) for key in sorted({self._key() for _ in range(4)})}
        there = {key for key in turns if await self._version(key) is not None}
        await self._connection.execute(
            "insert into things select * from unnest(%s::int[], %s::int[])"
            " on conflict (id) do update set version = excluded.version",
            (list(turns), list(turns.values())),
        )
        for key, turn in turns.items():
            await self._happened(key, turn, "update" if key in there else "insert", turn)

    async def _delete(self) -> None:
        key = self._key()
        turn = await self._turn(key)
        if (version := await self._version(key)) is not None:
            await self._connection.execute("delete from things where id = %s", (key,))
            await self._happened(key, turn, "delete", version)

    async def _replace(self) -> None:
        """A delete and an insert of one key in one transaction."""
        key = self._key()
        turn = await self._turn(key)
        if (version := await self._version(key)) is not None:
            await self._connection.execute("delete from things where id = %s", (key,))
            await self._happened(key, turn, "delete", version)
            turn = await self._turn(key)
        await self._connection.execute("insert into things values (%s, %s)", (key, turn))
        await self._happened(key, turn, "insert", turn)

    async def _rename(self) -> None:
        """A changed key: a delete of the old one, and an insert of the new one."""
        old, new = self._key(), self._key()
        turns = {key: await self._turn(key) for key in sorted({old, new})}
        version, taken = await self._version(old), await self._version(new)
        if old == new or version is None or taken is not None:
            return
        await self._connection.execute("update things set id = %s, version = %s where id = %s", (new, turns[new], old))
        await self._happened(old, turns[old], "delete", version)
        await self._happened(new, turns[new], "insert", turns[new])


async def make_truth(url: str) -> None:
    """Make the tables in which writers keep what they do."""
    async with await connect(url) as connection:
        await connection.execute(TABLES)


async def write_wildly(url: str, seed: int, *, writers: int, transactions: int) -> None:
    """Let so many writers loose at once."""

    async def one(number: int) -> None:
        async with await connect(url) as connection:
            await Writer(connection, random.Random(f"{seed}/{number}")).write(transactions)

    await asyncio.gather(*(one(number) for number in range(writers)))


async def truth(url: str) -> Events:
    """The events of each key that were committed, in order: (op, version)."""
    found: Events = defaultdict(list)
    async with await connect(url) as connection:
        for key, op, version in await (await connection.execute(HISTORY)).fetchall():
            found[key].append((op, version))
    return dict(found)
