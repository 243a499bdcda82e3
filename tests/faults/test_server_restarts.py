"""Promises 1, 3 and 9: the worker outlives its database, and nothing committed before, meanwhile or after is lost."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import psycopg
import pytest

from tests.support.mirror import Mirror
from tests.support.things import connect, observed, watch_things, write_things
from tests.support.waiting import some_moment
from tests.support.witness import Witness
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres

KEYS = 4
LONGEST_PAUSE = 0.06  # on average a sixth of it: too many writes would outrun the mirror
MODULES = observed("external", "transactional")


async def write_on(url: str, key: int) -> None:
    """Raise the version of one key by one, commit by commit, whatever happens to the server."""
    chance = random.Random(key)
    while True:
        with suppress(psycopg.OperationalError):
            async with await connect(url) as connection:
                while True:
                    await connection.execute("update things set version = version + 1 where id = %s", (key,))
                    await some_moment(chance, LONGEST_PAUSE)
        await some_moment(chance, LONGEST_PAUSE)


@asynccontextmanager
async def writers(url: str) -> AsyncIterator[None]:
    """One of them per key, until the context ends."""
    tasks = [asyncio.create_task(write_on(url, key)) for key in range(KEYS)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def final_versions(url: str) -> dict[str, int]:
    """What the table has in the end. Every version up to it was committed: writers cannot tell, the table can."""
    async with await connect(url) as connection:
        rows = await (await connection.execute("select id::text, version from things")).fetchall()
    return dict(rows)


async def restart(postgres: EmbeddedPostgres, how: str) -> None:
    """An orderly restart, or a crash."""
    if how == "restart":
        await asyncio.to_thread(postgres.restart)
    else:
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_the_database_goes_away_under_load(postgres: EmbeddedPostgres, how: str) -> None:
    """Twice under load: no version is lost, none is mirrored twice, and it is the same worker all along."""
    mirror = Mirror(postgres.url)
    await mirror.make()
    await watch_things(postgres.url, MODULES)
    await write_things(postgres.url, keys=KEYS, versions=range(1))
    async with Witness() as witness, start_worker(postgres.url, MODULES, witness) as worker:
        async with writers(postgres.url):
            for _ in range(2):
                await witness.until_deliveries(len(witness.deliveries) + 100)
                await restart(postgres, how)
        final = await final_versions(postgres.url)
        total = sum(final.values()) + KEYS
        await mirror.until(total, seconds=30)
        await witness.until(lambda heard: len({d.event for d in heard if d.done}) >= total, seconds=30)
        assert worker.alive
    assert max(Counter(await mirror.events()).values()) == 1
    assert await mirror.versions() == {key: list(range(version + 1)) for key, version in final.items()}
    for key, version in final.items():
        seen = witness.versions()[key]
        assert set(seen) == set(range(version + 1))
        assert all(later <= earlier + 1 for earlier, later in pairwise(seen))


@pytest.mark.parametrize("tries", [3, 16])
async def test_however_long_the_database_was_away_it_goes_on_at_once(postgres: EmbeddedPostgres, tries: int) -> None:
    """Pauses between tries do not grow: the first delivery comes within two seconds of the server's return."""
    modules = observed("external")
    await watch_things(postgres.url, modules)
    async with Witness() as witness, start_worker(postgres.url, modules, witness) as worker:
        await worker.said("listening")
        await write_things(postgres.url, keys=1, versions=range(1))
        await witness.until_done(1)
        await asyncio.to_thread(postgres.kill)
        await worker.said("listener connection lost")
        await worker.said("listener cannot connect", after=0, tries=tries, seconds=60)
        await asyncio.to_thread(postgres.start)
        await write_things(postgres.url, keys=1, versions=range(1, 2))
        await witness.until_done(2, seconds=2)
