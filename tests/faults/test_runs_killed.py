"""Promise: a request that was taken is done, whatever dies, and its run tells the truth at every moment."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support import jobs
from tests.support.asking import SECRET
from tests.support.cli import program
from tests.support.served import execute
from tests.support.waiting import eventually
from tests.support.workers import Worker, start_worker

JOBS = jobs.__name__
STATE = "select event_id, state, attempt, ended_at is null from hearken.runs"


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    """A database migrated for the endpoint `count`."""
    assert (await program(database_url, "migrate", HEARKEN_HANDLERS=JOBS)).code == 0
    yield database_url


async def until(url: str, state: str) -> list[tuple[Any, ...]]:
    """Wait until the one run is in that state; returns its row."""
    return await eventually(lambda: execute(url, f"{STATE} where state = %s", state), f"{state} run")


async def post(worker: Worker, body: dict[str, Any], query: str = "") -> tuple[int, Any]:
    """POST to the worker's port; its status and JSON."""
    port = (await worker.said("listening for HTTP"))["port"]
    headers = {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": json.dumps(body)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/count{query}", json=body, headers=headers) as response,
    ):
        return response.status, await response.json()


async def test_a_killed_run_is_done_by_the_next_worker(url: str) -> None:
    """The client's connection breaks; asked again with the same key it is the same run, which ends."""
    async with start_worker(url, [JOBS], CRON_SECRET=SECRET, COUNT_HANGS="1") as worker:
        await worker.said("working")
        asked = asyncio.create_task(post(worker, {"to": 2}))
        ((run, *_),) = await until(url, "running")
        worker.send(signal.SIGKILL)
        with pytest.raises(aiohttp.ClientError):
            await asked
    assert await execute(url, STATE) == [(run, "running", 1, True)]
    async with start_worker(url, [JOBS], CRON_SECRET=SECRET) as worker:
        await worker.said("working")
        assert await post(worker, {"to": 2}) == (200, {"counted": 2})
    assert await execute(url, STATE) == [(run, "succeeded", 1, False)]


async def test_a_stopped_run_burns_no_attempt(url: str) -> None:
    """SIGTERM: the POST is answered 202, the run goes back, and comes again at the next worker."""
    async with start_worker(url, [JOBS], CRON_SECRET=SECRET, COUNT_HANGS="1", HEARKEN_SHUTDOWN_TIMEOUT="1") as worker:
        await worker.said("working")
        asked = asyncio.create_task(post(worker, {"to": 2}))
        ((run, *_),) = await until(url, "running")
        worker.send(signal.SIGTERM)
        status, told = await asked
        assert (status, told["run"]) == (202, run)
        assert await worker.ended() == 0
    assert await execute(url, STATE) == [(run, "queued", 1, True)]
    async with start_worker(url, [JOBS], CRON_SECRET=SECRET) as worker:
        assert await until(url, "succeeded") == [(run, "succeeded", 1, False)]
        assert worker.alive


async def test_two_workers_take_one_key_as_one_run(url: str) -> None:
    """Whichever of them is asked."""
    async with (
        start_worker(url, [JOBS], CRON_SECRET=SECRET) as one,
        start_worker(url, [JOBS], CRON_SECRET=SECRET) as two,
    ):
        await one.said("working")
        await two.said("working")
        answers = await asyncio.gather(*(post(worker, {"to": 1}) for worker in (one, two) * 5))
    assert answers == [(200, {"counted": 1})] * 10
    assert await execute(url, "select count(*) from hearken.events") == [(1,)]
