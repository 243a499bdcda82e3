"""Promises 1 and 3 for sessions: whatever dies, purchases agree with their sessions, and all is written down once."""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack

import pytest

from tests.support.observed.dying import POINTS
from tests.support.played import open_arcade
from tests.support.players import TELL, connect, faults, play_wildly, until_quiet
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres

MODULES = ["handlers.sessions"]
# Those that are not in the handlers of `observed`.
EVERYWHERE = [point for point in POINTS if not point.endswith("the effect")]
PLAYERS, TRANSACTIONS, KILLED = 4, 60, 12
WRITTEN = "select (select count(*) from session_events) + (select count(*) from invoices) as written"


async def prepare(url: str) -> None:
    """Migrate, set the clock, let everything that handlers write be told of, and open with some purchases."""
    async with open_arcade(url) as arcade:
        await arcade.execute(TELL)
        await arcade.execute(
            "insert into purchases (minutes, payment_status) select 60, 'completed' from generate_series(1, 50)"
        )
        await arcade.bench.drain()


async def play(url: str, seed: str) -> None:
    """Some applications at once, to their end."""
    await asyncio.gather(*(play_wildly(url, f"{seed}/{number}", TRANSACTIONS) for number in range(PLAYERS)))


async def until_more_is_written(url: str, rows: int) -> None:
    """Wait until the handlers have written so many more rows."""
    async with await connect(url) as connection:
        await connection.execute("listen told")
        (before,) = await (await connection.execute(WRITTEN)).fetchall()
        while True:
            (now,) = await (await connection.execute(WRITTEN)).fetchall()
            if now["written"] >= before["written"] + rows:
                return
            async for _ in connection.notifies(stop_after=1):
                pass


async def killed_and_replaced(url: str, seed: str, killed: list[int]) -> None:
    """Keep a worker's place filled, and kill who has it after some more rows, whoever wrote them."""
    chance = random.Random(seed)
    while True:
        async with start_worker(url, MODULES) as worker:
            await worker.said("working")
            await until_more_is_written(url, chance.randint(1, 20))
            worker.send(signal.SIGKILL)
            killed.append(worker.pid)


@pytest.mark.parametrize("point", EVERYWHERE)
async def test_killed_at_each_point(database_url: str, point: str) -> None:
    """A worker that dies in a batch leaves nothing half done; the next one does it all, once."""
    seed = str(random.randrange(10**9))
    print("seed", seed)
    await prepare(database_url)
    async with start_worker(database_url, MODULES) as first:
        await play(database_url, seed)
        await until_quiet(database_url)
        assert first.alive
    await play(database_url, f"{seed}/more")
    dying = [*MODULES, "tests.support.observed.dying"]
    async with start_worker(database_url, dying, KILL_AT=point, KILL_COUNT="3") as doomed:
        assert await doomed.ended() == -signal.SIGKILL
    async with start_worker(database_url, MODULES):
        await until_quiet(database_url)
    assert await faults(database_url) == {}


async def test_killed_all_the_time_while_people_play(database_url: str) -> None:
    """Three places for workers, each of them killed and filled again; in the end nothing is missing or double."""
    seed = str(random.randrange(10**9))
    print("seed", seed)
    await prepare(database_url)
    killed: list[int] = []
    killing = [asyncio.create_task(killed_and_replaced(database_url, f"{seed}/{place}", killed)) for place in range(3)]
    while len(killed) < KILLED:
        await play(database_url, f"{seed}/{len(killed)}")
    for task in killing:
        task.cancel()
    await asyncio.gather(*killing, return_exceptions=True)
    async with start_worker(database_url, MODULES):
        await until_quiet(database_url)
    assert await faults(database_url) == {}


async def test_several_workers_do_nothing_twice(database_url: str) -> None:
    """Nobody is killed: four workers beside each other agree on who does what."""
    seed = str(random.randrange(10**9))
    print("seed", seed)
    await prepare(database_url)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            worker = await stack.enter_async_context(start_worker(database_url, MODULES))
            await worker.said("working")
        await play(database_url, seed)
        await until_quiet(database_url)
    assert await faults(database_url) == {}


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_the_database_goes_away_while_people_play(postgres: EmbeddedPostgres, how: str) -> None:
    """The same worker goes on when it is back."""
    seed = str(random.randrange(10**9))
    print("seed", seed)
    await prepare(postgres.url)
    async with start_worker(postgres.url, MODULES) as worker:
        await worker.said("working")
        playing = asyncio.create_task(play(postgres.url, seed))
        await until_more_is_written(postgres.url, 30)
        if how == "restart":
            await asyncio.to_thread(postgres.restart)
        else:
            await asyncio.to_thread(postgres.kill)
            await asyncio.to_thread(postgres.start)
        await playing
        await until_quiet(postgres.url)
        assert worker.alive
    assert await faults(postgres.url) == {}
