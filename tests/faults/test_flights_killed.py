"""Promises 1 and 2 with flights: a worker that is killed at any point of one loses nothing, and no key's order."""

from __future__ import annotations

from signal import SIGKILL

import pytest

from tests.support.observed.dying import FLIGHT_POINTS
from tests.support.things import connect, observed, until_nothing_is_parked, watch_things, write_things
from tests.support.waiting import eventually
from tests.support.witness import Witness
from tests.support.workers import start_worker

MODULES = observed("external")
KEYS, VERSIONS = 2, 3


async def running(url: str) -> int:
    """How many deliveries go on after their batch."""
    async with await connect(url) as connection:
        rows = await (await connection.execute("select 1 from hearken.parked where state = 'running'")).fetchall()
    return len(rows)


@pytest.mark.parametrize("point", [*FLIGHT_POINTS, "before the cursor moves"])
async def test_killed_at_each_point_of_a_flight(database_url: str, point: str) -> None:
    """The next worker delivers what ran, no attempt used, and what waits behind it, each key in order."""
    await watch_things(database_url, MODULES)
    async with Witness() as witness:
        witness.hold()
        async with start_worker(database_url, MODULES, witness, KILL_AT=point) as worker:
            await worker.said("listening")
            await write_things(database_url, keys=KEYS, versions=range(VERSIONS))
            if "late end" in point:
                await eventually(lambda: running(database_url), "flights", 10, fits=KEYS.__eq__)
                witness.release()
            assert await worker.ended() == -SIGKILL
        witness.release()
        async with start_worker(database_url, MODULES, witness):
            await witness.until_done(KEYS * VERSIONS)
            await until_nothing_is_parked(database_url)
    done: dict[str, list[int]] = {}
    for delivery in witness.deliveries:
        assert delivery.attempt == 1
        assert delivery.key is not None and delivery.version is not None
        versions = done.setdefault(delivery.key, [])
        assert delivery.version in (len(versions), len(versions) - 1), "out of order"
        if delivery.version == len(versions):
            versions.append(delivery.version)
    assert done == {str(key): list(range(VERSIONS)) for key in range(KEYS)}
