"""Promise 1 for what is put aside: it is tried again in time, also when the worker that put it aside is dead."""

from __future__ import annotations

from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest

from tests.support.observed.failing import DELAY
from tests.support.things import observed, until_fast_asleep, watch_things, write_things
from tests.support.witness import Witness
from tests.support.workers import start_worker

MODULES = observed("failing")
EVERYTHING = {(str(key), version) for key in range(2) for version in range(3)}


@pytest.mark.parametrize("point", ["after the claim", "before the effect", "after the effect"])
async def test_killed_in_the_middle_of_a_retry(database_url: str, point: str) -> None:
    """The attempt is done again by the next worker, and what is held behind it follows in order."""
    await watch_things(database_url, MODULES)
    async with Witness() as witness:
        await write_things(database_url, keys=2, versions=range(3))
        async with start_worker(database_url, MODULES, witness, KILL_AT=point, KILL_COUNT="3") as worker:
            assert await worker.ended() == -SIGKILL
        async with start_worker(database_url, MODULES, witness):
            await witness.until(lambda heard: {(d.key, d.version) for d in heard if d.done} == EVERYTHING)
    done = {(d.key, d.version): d.began for d in reversed(witness.deliveries) if d.done}
    for d in witness.deliveries:
        assert d.version is not None
        assert d.version == 0 or done[d.key, d.version - 1] < d.began, "delivered before the one ahead of it was done"


async def test_another_worker_that_sleeps_takes_a_retry_over(database_url: str) -> None:
    """It was not there when the event was put aside, and nothing rings when its time comes."""
    await watch_things(database_url, MODULES)
    async with (
        Witness() as witness,
        start_worker(database_url, [*MODULES, *observed("dozing")], witness, HEARKEN_LISTEN_CHECK="600") as late,
    ):
        await late.said("listening")
        await until_fast_asleep(database_url)
        late.send(SIGSTOP)
        async with start_worker(database_url, MODULES, witness) as first:
            await first.said("working")
            await write_things(database_url, keys=1, versions=range(1))
            await witness.until_heard(1)
            await first.said("due")
            late.send(SIGCONT)
            first.send(SIGKILL)
            await first.ended()
        await witness.until_done(1, seconds=DELAY + 2)
