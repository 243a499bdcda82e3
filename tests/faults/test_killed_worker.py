"""Promises 1 and 3: a worker may be killed at any point; nothing is lost, and nothing in here is done twice."""

from __future__ import annotations

import signal
from collections import Counter
from itertools import pairwise

import pytest

from tests.support.mirror import Mirror
from tests.support.observed.dying import POINTS
from tests.support.things import observed, watch_things, write_things
from tests.support.witness import Witness
from tests.support.workers import start_worker

KEYS, VERSIONS = 3, 4


async def killed_and_replaced(url: str, modules: list[str], point: str, witness: Witness) -> list[str]:
    """A worker that was killed at its second passing of the point; returns what to start the next one with."""
    await watch_things(url, modules)
    await write_things(url, keys=KEYS, versions=range(VERSIONS))
    async with start_worker(url, modules, witness, KILL_AT=point, KILL_COUNT="2") as doomed:
        assert await doomed.ended() == -signal.SIGKILL
    return modules


@pytest.mark.parametrize("point", POINTS)
async def test_external_events_arrive_at_least_once_and_in_order(database_url: str, point: str) -> None:
    """Killed at the point, the next worker begins where the cursor stood: nothing lost, each key in order."""
    async with Witness() as witness:
        modules = await killed_and_replaced(database_url, observed("external"), point, witness)
        async with start_worker(database_url, modules, witness):
            await witness.until_done(KEYS * VERSIONS)
    for key in map(str, range(KEYS)):
        seen = witness.versions()[key]
        assert set(seen) == set(range(VERSIONS))
        # The one step back is where the second worker began; forwards no version is ever passed over.
        assert all(later <= earlier + 1 for earlier, later in pairwise(seen)), seen
    for deliveries in witness.by_pid().values():
        events = [(d.key, d.event) for d in deliveries]
        assert len(set(events)) == len(events), "one process delivered an event twice"


@pytest.mark.parametrize("point", POINTS)
async def test_the_newest_event_of_each_key_arrives(database_url: str, point: str) -> None:
    """A folding handler that was killed converges: the last delivery of each key is of its newest version."""
    async with Witness() as witness:
        modules = await killed_and_replaced(database_url, observed("folding"), point, witness)
        async with start_worker(database_url, modules, witness):
            newest = {str(key): VERSIONS - 1 for key in range(KEYS)}
            await witness.until(lambda heard: {d.key: d.version for d in heard if d.done} == newest)
    for deliveries in witness.by_pid().values():
        for key in map(str, range(KEYS)):
            of_key = [d.event for d in deliveries if d.key == key]
            assert of_key == sorted(set(of_key))


@pytest.mark.parametrize("point", POINTS)
async def test_a_transactional_effect_happens_exactly_once(database_url: str, point: str) -> None:
    """The effect commits with the cursor or not at all, wherever the worker was killed."""
    mirror = Mirror(database_url)
    await mirror.make()
    async with Witness() as witness:
        modules = await killed_and_replaced(database_url, observed("transactional"), point, witness)
        async with start_worker(database_url, modules):
            await mirror.until(KEYS * VERSIONS)
    assert max(Counter(await mirror.events()).values()) == 1
    assert await mirror.versions() == {str(key): list(range(VERSIONS)) for key in range(KEYS)}
