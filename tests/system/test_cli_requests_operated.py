"""Promise: a request is an event like any other: replayed, skipped and explained, with its run telling the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support import jobs
from tests.support.cli import Result, program
from tests.support.workers import start_worker

JOBS = jobs.__name__


async def _hearken(url: str, *arguments: str) -> Result:
    return await program(url, *arguments, HEARKEN_HANDLERS=JOBS)


async def _job(url: str, body: str) -> dict[str, Any]:
    """The run of a job, once it is over."""
    run: dict[str, Any] = (await _hearken(url, "job", "count", "--body", body, "--wait", "--json")).json
    return run


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    """A database whose worker serves `count`."""
    assert (await _hearken(database_url, "migrate")).code == 0
    async with start_worker(database_url, [JOBS]) as worker:
        await worker.said("working")
        yield database_url


async def test_a_replayed_request_is_another_run(url: str) -> None:
    """With the same body, and the source that says so; the first stays as it was."""
    first = await _job(url, '{"to": 2}')
    replayed = await _hearken(url, "replay", str(first["event_id"]), "--yes")
    assert replayed.code == 0, replayed.err

    async def newest() -> dict[str, Any]:
        run: dict[str, Any] = (await _hearken(url, "runs", "--json")).json[0]
        return run

    run = await newest()
    while run["event_id"] == first["event_id"] or run["ended_at"] is None:
        run = await newest()
    assert (run["source"], run["state"], run["result"]) == ("replay", "succeeded", {"counted": 2})


async def test_a_dead_request_is_a_persons_to_decide(url: str) -> None:
    """Listed among the dead, skipped with a reason, which its run tells too; explain tells the whole story."""
    dead = await _job(url, '{"to": 0, "then": "fail"}')
    assert dead["state"] == "dead"
    listed = (await _hearken(url, "dead", "list", "--json")).json
    assert "told to" in str(listed)
    skipped = await _hearken(url, "dead", "skip", str(dead["event_id"]), "--reason", "never mind", "--yes")
    assert skipped.code == 0, skipped.err
    run = (await _hearken(url, "runs", str(dead["event_id"]), "--json")).json
    assert (run["state"], run["error"]) == ("skipped", "never mind")
    story = await _hearken(url, "explain", f"request/count/{dead['event_id']}")
    assert (story.code, "never mind" in story.out, "request" in story.out) == (0, True, True)
