"""Promise: `hearken job` asks an endpoint as its POST does, and `hearken runs` tells what became of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import jobs
from tests.support.cli import Result, program, start
from tests.support.workers import Worker, start_worker
from worker.commands.session import operator

JOBS = jobs.__name__


async def _hearken(url: str, *arguments: str) -> Result:
    return await program(url, *arguments, HEARKEN_HANDLERS=JOBS)


@pytest.fixture
async def url(database_url: str) -> str:
    """A database migrated for the endpoint `count`."""
    assert (await _hearken(database_url, "migrate")).code == 0
    return database_url


@pytest.fixture
async def worker(url: str) -> AsyncIterator[Worker]:
    """A worker that serves it."""
    async with start_worker(url, [JOBS], HEARKEN_SHUTDOWN_TIMEOUT="1") as worker:
        await worker.said("working")
        yield worker


async def test_a_job_is_waited_for(url: str, worker: Worker) -> None:
    """Its result is printed, and kept with who asked."""
    done = await _hearken(url, "job", "count", "--body", '{"to": 3}', "--wait", "--json")
    assert (done.code, done.json["state"], done.json["result"]) == (0, "succeeded", {"counted": 3})
    assert done.json["progress"] == {"done": 3, "total": 3, "text": "counting"}
    (listed,) = (await _hearken(url, "runs", "--json")).json
    assert (listed["event_id"], listed["source"]) == (done.json["event_id"], "cli")
    told = await _hearken(url, "runs", str(done.json["event_id"]))
    assert (told.code, '{"counted": 3}' in told.out, "request/count" in told.out) == (0, True, True)


async def test_a_job_that_fails_is_exit_1(url: str, worker: Worker) -> None:
    """With the reason that its handler gave; `runs` says the same later."""
    done = await _hearken(url, "job", "count", "--body", '{"to": 0, "then": "fail"}', "--wait")
    assert (done.code, "dead" in done.out, "told to" in done.out) == (1, True, True)
    run = done.out.splitlines()[1].split()[0]
    assert (await _hearken(url, "runs", run)).code == 1


async def test_a_schedule_is_due_when_told(url: str, worker: Worker) -> None:
    """Its handler is given a tick that is due now, and what it returns is kept."""
    done = await _hearken(url, "job", "nightly", "--wait", "--json")
    assert (done.code, done.json["topic"], done.json["state"]) == (0, "tick/nightly", "succeeded")
    assert datetime.now(UTC) - datetime.fromisoformat(done.json["result"]) < timedelta(minutes=1)


async def test_without_wait_it_says_where_to_look(url: str) -> None:
    """No worker is needed to ask."""
    asked = await _hearken(url, "job", "count", "--body", '{"to": 1}')
    assert (asked.code, "`hearken runs " in asked.out) == (0, True)


async def test_who_asked_and_why_is_explained(url: str) -> None:
    """Of a request as of a tick, by `hearken explain`."""
    run = (await _hearken(url, "job", "count", "--body", '{"to": 1}', "--reason", "a try", "--json")).json["event_id"]
    assert (await _hearken(url, "job", "nightly", "--reason", "it was late")).code == 0
    for subject, reason in ((f"request/count/{run}", "a try"), ("tick/nightly", "it was late")):
        (entry,) = (await _hearken(url, "explain", subject, "--json")).json["timeline"]
        assert entry["note"] == {"by": operator(), "reason": reason}


async def test_a_second_job_is_told_of_the_first(url: str) -> None:
    """Unless it is forced."""
    first = await _hearken(url, "job", "count", "--body", '{"to": 1}', "--json")
    second = await _hearken(url, "job", "count", "--body", '{"to": 1}')
    assert (second.code, f"run {first.json['event_id']}" in second.err, "--force" in second.err) == (1, True, True)
    assert (await _hearken(url, "job", "count", "--body", '{"to": 1}', "--force")).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("job", "nothing"), "no such endpoint or schedule: nothing; known: count, nightly"),
        (("job", "nightly", "--body", "{}"), "a schedule takes no --body"),
        (("job", "count"), "--body is not valid for count: to: Field required"),
        (("job", "count", "--body", "{"), "--body is not valid for count: (body): Invalid JSON"),
        (("runs", "--topic", "tick/never"), "no such topic: tick/never; known: request/count, tick/nightly"),
        (("runs", "nothing"), "'nothing' is not a valid integer range"),
    ],
)
async def test_a_wrong_argument_is_one_clear_line(url: str, arguments: tuple[str, ...], said: str) -> None:
    """And exit code 2."""
    refused = await _hearken(url, *arguments)
    assert (refused.code, said in refused.err) == (2, True), refused.err


async def test_no_runs_is_exit_1(url: str) -> None:
    """For a script: nothing has run, or not that one."""
    for arguments in (("runs",), ("runs", "12345")):
        none = await _hearken(url, *arguments)
        assert (none.code, none.err) == (1, "no runs\n")


async def test_ctrl_c_ends_the_waiting_alone(url: str, worker: Worker) -> None:
    """The run goes on; what was said before tells where to look."""
    arguments = ("job", "count", "--body", '{"to": 1, "then": "hang"}', "--wait")
    async with start(url, *arguments, HEARKEN_HANDLERS=JOBS) as waiting:
        assert waiting.stderr is not None
        async with asyncio.timeout(20):
            said = await waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        assert await waiting.wait() == 130
    run = said.decode().split()[1].rstrip(":")
    (listed,) = (await _hearken(url, "runs", "--json")).json
    assert (str(listed["event_id"]), listed["ended_at"]) == (run, None)
