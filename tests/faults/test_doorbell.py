"""Promises 5 to 7: a commit wakes who sleeps, whenever it comes; who sleeps asks for nothing; nobody rings in vain."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.proxy import proxy_to
from tests.support.things import (
    PUT,
    connect,
    observed,
    until_asleep,
    until_nobody_sleeps,
    until_nothing_is_parked,
    watch_things,
)
from tests.support.waiting import some_moment
from tests.support.witness import Delivery, Witness
from tests.support.workers import start_worker
from worker.postgres.locks import channel_of

# The self check would wake the worker, and hide a wake-up that was lost.
UNCHECKED = {"HEARKEN_LISTEN_CHECK": "600"}
SOON = 2.0
INSERT: dict[str, LiteralString] = {
    "things": "insert into things (id, version) values (%s, 0)",
    "others": "insert into others (id, version) values (%s, 0)",
}


@dataclass
class Scene:
    """A worker with nothing that would wake it but the doorbell, and its witness."""

    url: str
    witness: Witness
    stack: AsyncExitStack
    next_key: int = field(default=1000)

    async def writer(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Another connection of the application, in autocommit."""
        return await self.stack.enter_async_context(await connect(self.url))

    def key(self) -> int:
        """A key that was not used yet."""
        self.next_key += 1
        return self.next_key

    async def begins(self, key: int) -> None:
        """Wait until the handler is at work on this key."""
        await self.witness.until(lambda heard: str(key) in {d.key for d in heard})

    async def arrives(self, *keys: int, seconds: float = SOON) -> None:
        """Wait until these keys have been delivered."""
        wanted = set(map(str, keys))

        def there(heard: Sequence[Delivery]) -> bool:
            return wanted <= {d.key for d in heard if d.done}

        await self.witness.until(there, seconds)


@asynccontextmanager
async def asleep(url: str, *modules: str) -> AsyncIterator[Scene]:
    """A scene whose worker has fallen asleep."""
    await watch_things(url, observed(*modules))
    async with Witness() as witness, AsyncExitStack() as stack:
        worker = await stack.enter_async_context(start_worker(url, observed(*modules), witness, **UNCHECKED))
        await worker.said("listening")
        await until_asleep(url)
        yield Scene(url, witness, stack)


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    """A worker with one handler, asleep."""
    async with asleep(database_url, "external") as made:
        yield made


async def test_commits_at_random_moments_around_falling_asleep(scene: Scene) -> None:
    """Each comes right after the one before was delivered: while the worker settles, looks again, locks, or waits."""
    writer = await scene.writer()
    chance = random.Random(4711)
    for _ in range(200):
        key = scene.key()
        await writer.execute(INSERT["things"], (key,))
        await scene.arrives(key)
        await some_moment(chance, 0.012)


async def test_a_commit_held_back_across_falling_asleep(scene: Scene) -> None:
    """Its trigger ran while nobody slept and rang for nobody; it commits at any moment after."""
    first, second = await scene.writer(), await scene.writer()
    chance = random.Random(815)
    for _ in range(60):
        awake, held = scene.key(), scene.key()
        scene.witness.hold()
        await first.execute(INSERT["things"], (awake,))
        await scene.begins(awake)
        # The worker is at work now, so that this trigger finds the lock free.
        async with second.transaction():
            await second.execute(INSERT["things"], (held,))
            scene.witness.release()
            await scene.arrives(awake)
            await some_moment(chance, 0.1)
        await scene.arrives(held)


async def test_savepoints_held_back_across_falling_asleep(scene: Scene) -> None:
    """The same with a trigger that ran in a savepoint, released or rolled back with another one behind it."""
    first, second = await scene.writer(), await scene.writer()
    for rolled_back in (False, True) * 10:
        awake, held, dropped = scene.key(), scene.key(), scene.key()
        scene.witness.hold()
        await first.execute(INSERT["things"], (awake,))
        await scene.begins(awake)
        async with second.transaction():
            async with second.transaction():
                await second.execute(INSERT["things"], (held,))
            async with second.transaction(force_rollback=rolled_back):
                await second.execute(INSERT["things"], (dropped,))
            scene.witness.release()
            await scene.arrives(awake)
            await until_asleep(scene.url)
        await scene.arrives(held, *(() if rolled_back else (dropped,)))
    assert len(scene.witness.events()) == 10 * 2 + 10 * 3


async def test_two_topics_fall_asleep_and_wake_in_turns(database_url: str) -> None:
    """One listening connection for both: what one handler does there never swallows a ring for the other."""
    async with asleep(database_url, "external", "others") as scene:

        async def write(table: str, seed: int) -> None:
            writer = await scene.writer()
            chance = random.Random(seed)
            for _ in range(100):
                key = scene.key()
                await writer.execute(INSERT[table], (key,))
                await scene.arrives(key)
                await some_moment(chance, 0.01)

        await asyncio.gather(*(write(table, seed) for seed, table in enumerate(("things", "others"))))


async def test_an_idle_worker_asks_for_nothing(database_url: str) -> None:
    """Asleep, and with no transaction open, not a byte goes over the wire for two seconds; then a commit wakes it."""
    modules = observed("external", "others", "sharded")
    await watch_things(database_url, modules)
    async with (
        proxy_to(database_url) as proxy,
        Witness() as witness,
        start_worker(proxy.through(database_url), modules, witness, **UNCHECKED) as worker,
    ):
        await worker.said("listening")
        await until_asleep(database_url)
        async with asyncio.timeout(10):
            while not await proxy.silent(0.3):
                pass  # what it began with comes to its end
        assert await proxy.silent(2)
        async with await connect(database_url) as connection:
            await connection.execute(PUT, (1, 0))
        await witness.until_done(2, seconds=SOON)


async def rings(listening: psycopg.AsyncConnection[Any], writer: psycopg.AsyncConnection[Any]) -> int:
    """How many notifications have come since this was last asked: those before one that the writer now sends."""
    await writer.execute("select pg_notify(%s, 'asked')", (channel_of("public.things"),))
    heard = 0
    async with asyncio.timeout(10), aclosing(listening.notifies()) as notified:
        async for ring in notified:
            if ring.payload == "asked":
                break
            heard += 1
    return heard


async def test_writers_ring_only_while_someone_sleeps(database_url: str) -> None:
    """Nobody there: no NOTIFY. At work: none. Asleep: one."""
    modules = observed("external")
    await watch_things(database_url, modules)
    async with await connect(database_url) as writer, await connect(database_url) as listening, Witness() as witness:
        await listening.execute(
            psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel_of("public.things")))
        )
        for key in range(20):
            await writer.execute(PUT, (key, 0))
        assert await rings(listening, writer) == 0, "there is no worker yet"
        witness.hold()
        async with start_worker(database_url, modules, witness, **UNCHECKED):
            await witness.until_heard(1)
            for key in range(20, 40):
                await writer.execute(PUT, (key, 0))
            assert await rings(listening, writer) == 0, "the worker is at work"
            witness.release()
            await witness.until_done(40)
            await until_nothing_is_parked(database_url)
            await until_asleep(database_url)
            await writer.execute(PUT, (99, 0))
            assert await rings(listening, writer) >= 1, "the worker sleeps"
        await until_nobody_sleeps(database_url)
        await writer.execute(PUT, (100, 0))
        assert await rings(listening, writer) == 0, "the worker is dead, and its lock with it"


async def test_an_idle_transaction_delays_only_its_own_events(scene: Scene) -> None:
    """It has written to the watched table and stays open: what others commit comes at once, and its own in the end."""
    idle, other = await scene.writer(), await scene.writer()
    open_key = scene.key()
    async with idle.transaction():
        await idle.execute(INSERT["things"], (open_key,))
        for _ in range(30):
            key = scene.key()
            await other.execute(INSERT["things"], (key,))
            await scene.arrives(key)
        assert str(open_key) not in {d.key for d in scene.witness.deliveries}
    await scene.arrives(open_key)
    assert len(scene.witness.events()) == 31
