"""Promise 8 for what ends the process itself: it is found, dead and alone, and the fleet works on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support.observed.poisonous import POISON
from tests.support.things import PUT, connect, observed, watch_things
from tests.support.waiting import eventually
from tests.support.witness import Witness
from tests.support.workers import Worker, start_worker

MODULES = observed("poisonous")
DEAD = "select handler, key, attempt from hearken.parked where state = 'dead' order by handler"
DONE = """
select (select count(*) from swallowed) >= 20 and not exists (select from hearken.parked where state <> 'dead')
"""
# For each of the two handlers the first death leaves no trace, and three more do.
MOST_DEATHS = 2 * 5


async def keep_running(url: str, witness: Witness, deaths: list[int], stack: AsyncExitStack) -> None:
    """A worker, started anew whenever it has died, as a platform does."""
    while True:
        worker: Worker = await stack.enter_async_context(start_worker(url, MODULES, witness))
        deaths.append(await worker.ended(120))


@pytest.mark.parametrize("workers", [1, 3])
async def test_an_event_that_ends_the_process_is_dead_in_the_end(database_url: str, workers: int) -> None:
    """After a few deaths it is dead, alone; everything else is delivered, and nobody else is dead."""
    await watch_things(database_url, MODULES)
    async with await connect(database_url) as connection:
        await connection.execute("create table swallowed (event_id bigint primary key)")
        await connection.execute("grant all on swallowed to public")
        async with Witness() as witness, AsyncExitStack() as stack:
            deaths: list[int] = []
            for key in range(21):
                await connection.execute(PUT, (key, POISON if key == 7 else 0))
            fleet = [asyncio.create_task(keep_running(database_url, witness, deaths, stack)) for _ in range(workers)]

            async def finished() -> bool:
                ((done,),) = await (await connection.execute(DONE.encode())).fetchall()
                dead = await (await connection.execute(DEAD.encode())).fetchall()
                return bool(done) and len(dead) == 2

            try:
                await eventually(finished, "everything but the poison delivered", 60, fits=bool)
                dead = await (await connection.execute(DEAD.encode())).fetchall()
                await connection.execute(PUT, (99, 0))
                await witness.until(lambda heard: any(d.key == "99" and d.done for d in heard))
            finally:
                for task in fleet:
                    task.cancel()
                await asyncio.gather(*fleet, return_exceptions=True)
    assert dead == [("swallow", "7", 1), ("swallow_all", "7", 1)]
    assert len(deaths) <= MOST_DEATHS + workers, f"{len(deaths)} deaths"
    assert {d.key for d in witness.deliveries if d.done} == {str(key) for key in [*range(21), 99] if key != 7}
