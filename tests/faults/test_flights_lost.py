"""Promises 1 and 2 with flights: a worker that is gone, or taken for gone, holds up nothing and harms nothing."""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from tests.support.things import connect, observed, watch_things, write_things
from tests.support.waiting import eventually
from tests.support.witness import Witness
from tests.support.workers import start_worker

MODULES = observed("effective")
PARKED = "select key, state, attempt from hearken.parked order by event_id"
EFFECTS = "select event_id, state from hearken.effects order by id"


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    async with await connect(url) as connection:
        return await (await connection.execute(query.encode())).fetchall()


async def until_parked(url: str, *expected: tuple[object, ...], seconds: float = 10) -> None:
    await eventually(
        lambda: rows(url, PARKED), f"parked {expected}", seconds, fits=lambda found: found == list(expected)
    )


async def test_flights_of_a_killed_worker_are_taken_over_at_once(database_url: str) -> None:
    """They are delivered again by the one that is left, no attempt used, and what waits for them follows."""
    await watch_things(database_url, MODULES)
    async with Witness() as witness:
        witness.hold()
        async with (
            start_worker(database_url, MODULES, witness) as first,
            start_worker(database_url, MODULES, witness) as second,
        ):
            await first.said("listening")
            await second.said("listening")
            await write_things(database_url, keys=1, versions=range(1))
            await until_parked(database_url, ("0", "running", 0))
            await write_things(database_url, keys=1, versions=range(1, 2))
            await until_parked(database_url, ("0", "running", 0), ("0", "held", 0))
            flying = first if witness.deliveries[0].pid == first.pid else second
            flying.send(SIGKILL)
            await flying.ended()
            await witness.until(lambda heard: len(heard) == 2, seconds=3)
            witness.release()
            await until_parked(database_url)
    assert [(d.version, d.attempt, d.done) for d in witness.deliveries] == [(0, 1, False), (0, 1, True), (1, 1, True)]


async def test_a_frozen_worker_that_comes_back_writes_nothing(database_url: str) -> None:
    """Silent for longer than its bound it is taken for gone: another has done the work, and it begins no effect."""
    await watch_things(database_url, MODULES)
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, MODULES, witness) as frozen:
            await frozen.said("listening")
            await write_things(database_url, keys=1, versions=range(1))
            await until_parked(database_url, ("0", "running", 0))
            frozen.send(SIGSTOP)
            async with start_worker(database_url, MODULES, witness) as other:
                await witness.until(lambda heard: len(heard) == 2, seconds=30)
                assert witness.deliveries[1].pid == other.pid
                witness.release()
                await until_parked(database_url)
                assert len(await rows(database_url, EFFECTS)) == 1
                frozen.send(SIGCONT)
                await frozen.said("taken over by another worker")
                assert len(await rows(database_url, EFFECTS)) == 1, "an effect of a worker that lost its delivery"


@pytest.mark.parametrize("signal", [SIGKILL, SIGSTOP])
@pytest.mark.parametrize("module", ["held_batch", "held_whole"])
async def test_a_claim_is_free_within_five_seconds(database_url: str, module: str, signal: int) -> None:
    """Of a worker that is killed or frozen in mid-batch: the other goes on, and the one that wakes harms nothing."""
    modules = observed(module)
    await watch_things(database_url, modules)
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, modules, witness) as first:
            await first.said("listening")
            await write_things(database_url, keys=1, versions=range(1))
            await witness.until_heard(1)
            async with start_worker(database_url, modules, witness) as second:
                await second.said("working")
                first.send(signal)  # type: ignore[arg-type]
                await witness.until(lambda heard: len(heard) == 2, seconds=9)
                witness.release()
                await witness.until(lambda heard: heard[1].done)
                first.send(SIGCONT)
                await write_things(database_url, keys=1, versions=range(1, 2))
                await witness.until(lambda heard: any(d.version == 1 and d.done for d in heard))
    assert {d.attempt for d in witness.deliveries} == {1}
