"""Promises 1 to 3 when all goes wrong at once: wild writers, two workers, and one of them killed all the time."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from itertools import pairwise

from tests.support.mirror import Mirror
from tests.support.things import observed, watch_things
from tests.support.witness import Delivery, Witness
from tests.support.workers import start_worker
from tests.support.writing import Events, make_truth, truth, write_wildly

MODULES = observed("external", "sharded", "transactional")
EVERY = ("see", "see_shards")
PLACES = 2


async def killed_and_replaced(url: str, witness: Witness, seed: str) -> None:
    """Keep a worker's place filled, and kill who has it after a few more deliveries, whoever made them."""
    chance = random.Random(seed)
    while True:
        batch = {"OBSERVED_BATCH": str(chance.randint(1, 20))}
        async with start_worker(url, MODULES, witness, **batch) as worker:
            await worker.said("working")
            await witness.until_deliveries(len(witness.deliveries) + chance.randint(1, 60), seconds=60)
            worker.send(signal.SIGKILL)


def told(deliveries: list[Delivery], handler: str) -> Events:
    """What the handler was given of each key, in order."""
    found: Events = {}
    for d in deliveries:
        if d.handler == handler and d.version is not None:
            found.setdefault(str(d.key), []).append((d.op, d.version))
    return found


def is_in_order(seen: list[tuple[str, int]], committed: list[tuple[str, int]]) -> bool:
    """Whether it goes forward one by one, and after a kill back to some earlier event; each at least once."""
    places = [committed.index(event) for event in seen]
    return set(places) == set(range(len(committed))) and all(
        later <= earlier + 1 for earlier, later in pairwise(places)
    )


async def test_killed_all_the_time_under_wild_writers(database_url: str) -> None:
    """External handlers: each event at least once, each key in order. The transactional one: exactly once, in order."""
    seed = random.randrange(10**9)
    print("seed", seed)
    mirror = Mirror(database_url)
    await mirror.make()
    await make_truth(database_url)
    await watch_things(database_url, MODULES)
    async with Witness() as witness:
        killing = [
            asyncio.create_task(killed_and_replaced(database_url, witness, f"{seed}/{place}"))
            for place in range(PLACES)
        ]
        await write_wildly(database_url, seed, writers=6, transactions=25)
        history = await truth(database_url)
        total = sum(map(len, history.values()))
        await witness.until_deliveries(total // 2)
        for task in killing:
            task.cancel()
        await asyncio.gather(*killing, return_exceptions=True)
        assert len(witness.by_pid()) > PLACES, "nobody was killed"
        async with start_worker(database_url, MODULES, witness):
            await mirror.until(total)
            await witness.until_done(total * len(EVERY))
    assert max(Counter(await mirror.events()).values()) == 1
    assert await mirror.versions() == {key: [version for _, version in events] for key, events in history.items()}
    for handler in EVERY:
        seen = told(witness.deliveries, handler)
        assert seen.keys() == history.keys()
        assert all(is_in_order(seen[key], history[key]) for key in history)
