"""Promises 1 and 5: whatever becomes of the listening connection, what is committed meanwhile arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count

import pytest

from tests.support.proxy import TcpProxy, proxy_to
from tests.support.things import PUT, connect, observed, until_asleep, watch_things
from tests.support.witness import Witness
from tests.support.workers import Worker, start_worker

MODULES = observed("external", "impatient")
# One slow listener check would hide behind another fault: it comes often.
QUICK = {"HEARKEN_LISTEN_CHECK": "0.3", "HEARKEN_QUERY_TIMEOUT": "1"}


@dataclass
class Scene:
    """A worker that reaches its database through a proxy, and a writer that does not."""

    url: str
    worker: Worker
    witness: Witness
    proxy: TcpProxy
    keys: count[int]

    async def commit(self) -> None:
        """One new row."""
        async with await connect(self.url) as connection:
            await connection.execute(PUT, (next(self.keys), 0))

    async def until_all_arrived(self) -> None:
        """Wait until every row that was committed was delivered."""
        committed = next(self.keys)
        self.keys = count(committed)
        await self.witness.until_done(committed)

    async def until_it_listens_again(self, mark: int) -> None:
        """Wait until it has proven itself after line `mark` of its log, sleeps, and is woken by a commit."""
        await self.worker.said("listening", after=mark, channels=2)
        await until_asleep(self.url)
        await self.commit()
        await self.until_all_arrived()


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    """A worker that sleeps, having delivered one event."""
    await watch_things(database_url, MODULES)
    async with (
        proxy_to(database_url) as proxy,
        Witness() as witness,
        start_worker(proxy.through(database_url), MODULES, witness, **QUICK) as worker,
    ):
        made = Scene(database_url, worker, witness, proxy, count())
        await made.commit()
        await made.until_it_listens_again(0)
        await until_asleep(database_url)
        yield made
        assert worker.alive
        assert witness.repeated() == []


async def test_terminated_by_the_server(scene: Scene) -> None:
    """pg_terminate_backend of the listener alone, three times, each with a commit right behind it."""
    for _ in range(3):
        listener = await until_asleep(scene.url)
        mark = len(scene.worker.lines)
        async with await connect(scene.url) as connection:
            await connection.execute("select pg_terminate_backend(%s)", (listener,))
            await connection.execute(PUT, (next(scene.keys), 0))
        await scene.until_all_arrived()
        await scene.until_it_listens_again(mark)


async def test_every_connection_cut(scene: Scene) -> None:
    """A network that resets everything, with a commit before, while it is away, and after."""
    for _ in range(3):
        mark = len(scene.worker.lines)
        scene.proxy.refuse()
        await scene.commit()
        await scene.proxy.cut()
        await scene.commit()
        await scene.worker.said("listener connection lost", after=mark)
        await scene.proxy.accept()
        await scene.commit()
        await scene.until_all_arrived()
        await scene.until_it_listens_again(mark)


async def test_half_open(scene: Scene) -> None:
    """Connections that pass nothing on and never end: the self-check finds out, and the rest is given up in time."""
    mark = len(scene.worker.lines)
    scene.proxy.strand()
    await scene.commit()
    await scene.worker.said("listener connection lost", after=mark)
    await scene.until_all_arrived()
    await scene.until_it_listens_again(mark)


async def test_a_network_that_pauses(scene: Scene) -> None:
    """Nothing passes for longer than the worker waits, and then everything that was held back arrives late."""
    mark = len(scene.worker.lines)
    scene.proxy.freeze()
    await scene.commit()
    await scene.worker.said("listener connection lost", after=mark)
    scene.proxy.thaw()
    await scene.until_all_arrived()
    await scene.until_it_listens_again(mark)
