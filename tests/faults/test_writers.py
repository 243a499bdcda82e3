"""Promises 1 to 3 under writers at their worst: nothing lost, nothing doubled, each key in the order of its commits."""

from __future__ import annotations

import random
from collections import defaultdict
from contextlib import AsyncExitStack

import pytest

from tests.support.mirror import Mirror
from tests.support.things import observed, watch_things
from tests.support.witness import Witness
from tests.support.workers import start_worker
from tests.support.writing import Events, make_truth, truth, write_wildly

MODULES = observed("external", "sharded", "transactional", "folding")
EVERY = ("see", "see_shards")


def told(witness: Witness, handler: str) -> Events:
    """What the handler was given of each key, in order."""
    found: Events = defaultdict(list)
    for d in witness.deliveries:
        if d.handler == handler and d.version is not None:
            found[str(d.key)].append((d.op, d.version))
    return dict(found)


@pytest.mark.parametrize("seed", [1, 2, None], ids=["one", "two", "fresh"])
async def test_what_was_committed_is_what_arrives(database_url: str, seed: int | None) -> None:
    """Two workers with batches of any size, and four handlers of every kind, see exactly the committed history."""
    seed = random.randrange(10**9) if seed is None else seed
    print("seed", seed)
    chance = random.Random(seed)
    mirror = Mirror(database_url)
    await mirror.make()
    await make_truth(database_url)
    await watch_things(database_url, MODULES)
    async with Witness() as witness, AsyncExitStack() as stack:
        for _ in range(2):
            batch = {"OBSERVED_BATCH": str(chance.randint(1, 30))}
            await stack.enter_async_context(start_worker(database_url, MODULES, witness, **batch))
        await write_wildly(database_url, seed, writers=8, transactions=20)
        history = await truth(database_url)
        total = sum(map(len, history.values()))
        await mirror.until(total)
        last = {(key, version) for key, events in history.items() for op, version in events[-1:]}
        await witness.until(
            lambda heard: (
                all(sum(d.handler == h for d in heard) >= total for h in EVERY)
                and last <= {(d.key, d.version) for d in heard if d.handler == "see_newest"}
            )
        )
    assert told(witness, "see") == history
    assert told(witness, "see_shards") == history
    assert await mirror.versions() == {key: [version for _, version in events] for key, events in history.items()}
    for key, events in told(witness, "see_newest").items():
        rest = iter(history[key])
        assert all(event in rest for event in events), "folded events came out of order"
        assert events[-1] == history[key][-1]
