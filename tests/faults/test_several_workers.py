"""Promises 1 and 2 with several workers over one database: a cursor is one's at a time, and passes on when one dies."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from tests.support.mirror import Mirror
from tests.support.observed.sharded import SHARDS
from tests.support.things import connect, observed, watch_things, write_things
from tests.support.witness import Delivery, Witness
from tests.support.workers import Worker, start_worker

KEYS, VERSIONS = 16, 6
ALL = KEYS * VERSIONS
END_OF = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like %s"
SHARD_OF = "select key, (hashtextextended(key, 0) & 2147483647) %% %s from unnest(%s::text[]) key"


async def start_workers(
    stack: AsyncExitStack, many: int, url: str, modules: list[str], *witness: Witness
) -> list[Worker]:
    """So many, all of which have begun to work."""
    workers = [await stack.enter_async_context(start_worker(url, modules, *witness)) for _ in range(many)]
    for worker in workers:
        await worker.said("working")
    return workers


async def shards(url: str) -> dict[str, int]:
    """The shard of each key, by the database's own hash."""
    async with await connect(url) as connection:
        cursor = await connection.execute(SHARD_OF, (SHARDS, list(map(str, range(KEYS)))))
        return dict(await cursor.fetchall())


def overlaps(deliveries: Iterable[Delivery]) -> list[tuple[Delivery, Delivery]]:
    """Deliveries of one process that began while another process was still at one."""
    in_order = sorted(deliveries, key=lambda d: d.began)
    return [
        (earlier, later)
        for place, earlier in enumerate(in_order)
        for later in in_order[place + 1 :]
        if earlier.pid != later.pid and (earlier.ended is None or later.began < earlier.ended)
    ]


@pytest.mark.parametrize("many", [2, 3])
async def test_one_cursor_is_run_by_one_at_a_time(database_url: str, many: int) -> None:
    """Nobody is killed: every event once, each key in order, and no two processes at it at the same moment."""
    modules = observed("external")
    await watch_things(database_url, modules)
    async with Witness() as witness, AsyncExitStack() as stack:
        await start_workers(stack, many, database_url, modules, witness)
        await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
        await witness.until_done(ALL)
        assert witness.repeated() == []
        assert overlaps(witness.deliveries) == []
        assert witness.versions() == {str(key): list(range(VERSIONS)) for key in range(KEYS)}


async def test_a_transactional_handler_of_several_workers(database_url: str) -> None:
    """Three of them mirror a stream of changes: each once, each key in order."""
    modules = observed("transactional")
    mirror = Mirror(database_url)
    await mirror.make()
    await watch_things(database_url, modules)
    async with AsyncExitStack() as stack:
        await start_workers(stack, 3, database_url, modules)
        await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
        await mirror.until(ALL)
    assert len(await mirror.events()) == ALL
    assert await mirror.versions() == {str(key): list(range(VERSIONS)) for key in range(KEYS)}


@pytest.mark.parametrize("many", [2, 3])
async def test_shards_are_worked_side_by_side(database_url: str, many: int) -> None:
    """Each shard is one process's at a time; all of them are at work at once; every event once."""
    modules = observed("sharded")
    await watch_things(database_url, modules)
    shard_of = await shards(database_url)
    async with Witness() as witness, AsyncExitStack() as stack:
        await start_workers(stack, many, database_url, modules, witness)
        witness.hold()
        await write_things(database_url, keys=KEYS, versions=range(1))
        # Held up, and still every shard comes: none waits for another.
        await witness.until(lambda heard: len({shard_of[d.key] for d in heard if d.key}) == SHARDS)
        witness.release()
        await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
        await witness.until_done(KEYS * VERSIONS)
        assert witness.repeated() == []
    by_shard: dict[int, list[Delivery]] = defaultdict(list)
    for delivery in witness.deliveries:
        by_shard[shard_of[str(delivery.key)]].append(delivery)
    assert by_shard.keys() == set(range(SHARDS))
    assert not any(overlaps(of_shard) for of_shard in by_shard.values())


async def test_others_take_over_when_one_is_killed(database_url: str) -> None:
    """The one that has the cursor is killed with its handlers at work: another one goes on within seconds."""
    modules = observed("external")
    await watch_things(database_url, modules)
    async with Witness() as witness, AsyncExitStack() as stack:
        workers = {worker.pid: worker for worker in await start_workers(stack, 3, database_url, modules, witness)}
        for killed in range(2):
            witness.hold()
            await write_things(database_url, keys=2, versions=range(2 * killed, 2 * killed + 2))
            await witness.until_at_work()
            (owner,) = {d.pid for d in witness.deliveries if d.ended is None}
            workers.pop(owner).send(signal.SIGKILL)
            await witness.until_at_work(other_than=owner, seconds=5)
            witness.release()
            await witness.until_done(4 * killed + 4)
    for seen in witness.versions().values():
        assert all(later <= earlier + 1 for earlier, later in pairwise(seen)), seen


async def test_one_that_comes_back_from_the_dead_does_no_harm(database_url: str) -> None:
    """Stopped in the middle of a batch, with its connections gone, it is replaced; then it wakes, and goes on."""
    modules = observed("slow_mirror")
    mirror = Mirror(database_url)
    await mirror.make()
    await watch_things(database_url, modules)
    await write_things(database_url, keys=2, versions=range(2))
    async with Witness() as witness, AsyncExitStack() as stack:
        witness.hold()
        (zombie,) = await start_workers(stack, 1, database_url, modules, witness)
        await witness.until_at_work()
        zombie.send(signal.SIGSTOP)
        async with await connect(database_url) as connection:
            await connection.execute(END_OF, (f"hearken %:{zombie.pid}",))
        await start_workers(stack, 1, database_url, modules, witness)
        await witness.until_at_work(other_than=zombie.pid)
        witness.release()
        await mirror.until(4)
        zombie.send(signal.SIGCONT)
        await zombie.said("batch rolled back")
        await write_things(database_url, keys=2, versions=range(2, 4))
        await mirror.until(8)
        assert zombie.alive
    assert await mirror.versions() == {"0": [*range(4)], "1": [*range(4)]}
