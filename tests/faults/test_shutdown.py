"""Promise 9: SIGTERM ends a worker in time, with exit code 0, no attempt burnt, and nothing done twice."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from psycopg.rows import dict_row

from tests.support.cli import start
from tests.support.mirror import Mirror
from tests.support.proxy import proxy_to
from tests.support.things import connect, observed, until_asleep, watch_things, write_things
from tests.support.witness import Witness
from tests.support.workers import Worker, start_worker
from worker.dev.embedded import EmbeddedPostgres

KEYS, VERSIONS = 4, 2
ALL = KEYS * VERSIONS
BATCHES = {"OBSERVED_BATCH": str(ALL)}
PARKED = "select *, due_at <= now() as is_due from hearken.parked order by event_id"


async def parked(url: str) -> list[dict[str, Any]]:
    """What is put aside."""
    async with await connect(url) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(PARKED)).fetchall()


async def terminate(worker: Worker, *, within: float) -> None:
    """SIGTERM; it must exit with 0 within so many seconds."""
    worker.send(signal.SIGTERM)
    assert await worker.ended(within) == 0


async def test_handlers_at_work_finish(database_url: str) -> None:
    """Two of eight are at work: they end; the other six wait for the next worker, which does only those."""
    modules = observed("external")
    await watch_things(database_url, modules)
    await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, modules, witness, **BATCHES) as worker:
            await witness.until_heard(2)
            worker.send(signal.SIGTERM)
            await worker.said("stopping")
            witness.release()
            assert await worker.ended(5) == 0
        first = set(witness.events())
        assert len(first) == 2
        assert await parked(database_url) == [], "what was not begun stays in the log, before the cursor"
        async with start_worker(database_url, modules, witness, **BATCHES) as worker:
            await witness.until_done(ALL)
            await terminate(worker, within=5)
    assert len(witness.events()) == ALL, "an event that was finished was done again"
    assert {d.attempt for d in witness.deliveries} == {1}
    assert witness.versions() == {str(key): list(range(VERSIONS)) for key in range(KEYS)}
    assert await parked(database_url) == []


async def test_handlers_that_take_too_long_are_cancelled(database_url: str) -> None:
    """Past the deadline they are cancelled; their events go back with no attempt used, and come again in order."""
    modules = observed("external")
    await watch_things(database_url, modules)
    await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, modules, witness, HEARKEN_SHUTDOWN_TIMEOUT="0.3", **BATCHES) as worker:
            await witness.until_heard(2)
            await terminate(worker, within=4)
        put_aside = await parked(database_url)
        assert [(p["state"], p["attempt"], p["is_due"]) for p in put_aside] == [("due", 0, True)] * 2
        witness.release()
        before = len(witness.deliveries)
        async with start_worker(database_url, modules, witness, **BATCHES):
            await witness.until_done(ALL)
    again = witness.deliveries[before:]
    assert sorted(d.event for d in again) == sorted({d.event for d in again})
    assert {d.attempt for d in again} == {1}


async def test_a_handler_that_ignores_its_cancellation(database_url: str) -> None:
    """It is left behind: the process ends all the same, and the event goes to the next worker."""
    modules = observed("stubborn")
    await watch_things(database_url, modules)
    await write_things(database_url, keys=1, versions=range(1))
    async with (
        Witness() as witness,
        start_worker(database_url, modules, witness, HEARKEN_SHUTDOWN_TIMEOUT="0.3") as worker,
    ):
        await witness.until_heard(1)
        await terminate(worker, within=6)
    (put_aside,) = await parked(database_url)
    assert (put_aside["state"], put_aside["attempt"]) == ("due", 0)


async def test_a_handler_that_blocks_the_event_loop(database_url: str) -> None:
    """The process ends in time all the same, and the event goes to the next worker."""
    modules = observed("blocking")
    await watch_things(database_url, modules)
    await write_things(database_url, keys=1, versions=range(1))
    async with (
        Witness() as witness,
        start_worker(database_url, modules, witness, HEARKEN_SHUTDOWN_TIMEOUT="0.3") as worker,
    ):
        await witness.until_heard(1)
        await terminate(worker, within=6)


async def test_a_transactional_batch_is_committed_whole(database_url: str) -> None:
    """It is given its time, and commits with its cursor."""
    modules = observed("slow_mirror")
    mirror = Mirror(database_url)
    await mirror.make()
    await watch_things(database_url, modules)
    await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, modules, witness, **BATCHES) as worker:
            await witness.until_heard(1)
            worker.send(signal.SIGTERM)
            await worker.said("stopping")
            witness.release()
            assert await worker.ended(5) == 0
    assert len(await mirror.events()) == ALL
    assert await parked(database_url) == []


async def test_a_transactional_batch_is_rolled_back_whole(database_url: str) -> None:
    """Out of time, nothing of it stays, and the next worker does it once."""
    modules = observed("slow_mirror")
    mirror = Mirror(database_url)
    await mirror.make()
    await watch_things(database_url, modules)
    await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, modules, witness, HEARKEN_SHUTDOWN_TIMEOUT="0.3", **BATCHES) as worker:
            await witness.until_heard(1)
            await terminate(worker, within=4)
        assert await mirror.events() == []
        assert await parked(database_url) == []
        witness.release()
        async with start_worker(database_url, modules, witness, **BATCHES):
            await mirror.until(ALL)
    assert len(await mirror.events()) == ALL
    assert {d.attempt for d in witness.deliveries} == {1}


async def test_an_idle_worker_ends_at_once(database_url: str) -> None:
    """Nothing is waited for when nothing is at work; a second SIGTERM changes nothing."""
    modules = observed("external", "transactional")
    await watch_things(database_url, modules)
    async with start_worker(database_url, modules) as worker:
        await until_asleep(database_url)
        worker.send(signal.SIGTERM)
        await worker.said("stopping")
        await terminate(worker, within=1.5)


async def test_the_program_of_the_procfile_ends_at_once(database_url: str) -> None:
    """`python -m worker run`, started as a platform starts it."""
    modules = observed("external")
    await watch_things(database_url, modules)
    async with start(database_url, "run", HEARKEN_HANDLERS=",".join(modules), PORT="0") as process:
        await until_asleep(database_url)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(2):
            await process.communicate()
        assert process.returncode == 0


@pytest.mark.parametrize("when", ["before it was ever there", "before it is migrated"])
async def test_a_worker_that_waits_for_its_database(empty_database_url: str, when: str) -> None:
    """One that could not begin yet ends at once, too."""
    url = empty_database_url if "migrated" in when else "postgresql://nobody@127.0.0.1:1/nothing"
    async with start_worker(url, observed("external")) as worker:
        await worker.said("not ready")
        await terminate(worker, within=2)


async def test_the_database_is_away(postgres: EmbeddedPostgres) -> None:
    """The server is stopped below a worker in the middle of a batch: there is nothing left to write, and it ends."""
    modules = observed("external", "transactional")
    await Mirror(postgres.url).make()
    await watch_things(postgres.url, modules)
    await write_things(postgres.url, keys=KEYS, versions=range(VERSIONS))
    async with Witness() as witness:
        witness.hold()
        async with start_worker(postgres.url, modules, witness, HEARKEN_SHUTDOWN_TIMEOUT="1") as worker:
            await witness.until_heard(2)
            await asyncio.to_thread(postgres.stop)
            await worker.said("listener")
            await terminate(worker, within=6)


@pytest.mark.parametrize("at_work", [True, False], ids=["at work", "asleep"])
async def test_the_network_is_silent(database_url: str, at_work: bool) -> None:
    """Nothing comes from the database any more, not even an end: the worker does not wait for it past its time."""
    modules = observed("external", "slow_mirror")
    await Mirror(database_url).make()
    await watch_things(database_url, modules)
    if at_work:
        await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
    async with proxy_to(database_url) as proxy, Witness() as witness:
        witness.hold()
        slow = {"HEARKEN_SHUTDOWN_TIMEOUT": "1"}
        async with start_worker(proxy.through(database_url), modules, witness, **slow) as worker:
            if at_work:
                await witness.until_heard(3)
            else:
                await until_asleep(database_url)
            proxy.freeze()
            await terminate(worker, within=6)
