"""Promise: a bulk sync that is killed in the middle is gone on with, by whoever comes next, and does nobody twice."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest

from handlers.packages.runs import last_answer
from tests.support.cli import hearken, start
from tests.support.gateway import Fault, Gateway
from tests.support.packages import PACKAGE, Club, open_club
from tests.support.waiting import eventually
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres

SYNC = ("packages", "sync", "--all", "--batch-size", "10", "--json")


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """Thirty profiles; the CRM is slow from the sixteenth question on."""
    async with open_club(shared_postgres, empty_database_url) as club:
        await club.fill(30)
        club.gateway.fault(Fault(delay=60, times=None, only=lambda _: len(club.gateway.calls) > 15))
        yield club


def goes_on(gateway: Gateway) -> None:
    """The CRM is as fast as ever again."""
    gateway.faults.clear()
    gateway.calls.clear()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
async def test_a_command_that_is_killed_is_gone_on_with(club: Club, how: signal.Signals) -> None:
    """The first batch was saved: the next command does the other two, and answers for all three."""
    environment = {"HEARKEN_HANDLERS": PACKAGE, **club.environment}
    async with start(club.url, *SYNC, **environment) as first:
        await club.gateway.asked(16)
        second = await hearken(club.url, *SYNC, **environment)
        assert second.code == 1
        assert "a bulk sync is running since" in second.err
        assert "10 of 30 profiles" in second.err
        first.send_signal(how)
        await first.wait()
    goes_on(club.gateway)
    third = await hearken(club.url, *SYNC, **environment)
    assert (third.code, third.json["result"]["totalProfiles"], third.json["result"]["totalPackages"]) == (0, 30, 60)
    assert len(club.gateway.calls) == 20


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_a_worker_that_is_killed_is_taken_over(club: Club, how: signal.Signals) -> None:
    """The request is another worker's then, which goes on behind the first batch; so it is when the grace is over."""
    environment = {"HEARKEN_HANDLERS": PACKAGE, **club.environment}
    async with start_worker(club.url, [PACKAGE], None, HEARKEN_SHUTDOWN_TIMEOUT="1", **club.environment) as first:
        await first.said("working")
        asked = await hearken(club.url, "job", "sync-packages", "--body", '{"batchSize": 10}', **environment)
        assert asked.code == 0, asked.err
        await club.gateway.asked(16)
        first.send(how)
        await first.ended()
        goes_on(club.gateway)
        async with start_worker(club.url, [PACKAGE], None, **club.environment) as second:
            await second.said("working")
            answer = await eventually(lambda: last_answer(club.database), "answer")
    assert answer is not None
    assert (answer.result.total_profiles, answer.result.failed_profiles, answer.result.total_packages) == (30, 0, 60)
    assert len(club.gateway.calls) == 20
    assert len(await club.live()) == 60


async def test_a_database_that_restarts_ends_the_run_and_the_next_goes_on(club: Club) -> None:
    """Who has lost the lock writes nothing more; nobody is counted as failed for it."""
    environment = {"HEARKEN_HANDLERS": PACKAGE, **club.environment}
    async with start(club.url, *SYNC, **environment) as first:
        await club.gateway.asked(16)
        await club.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'hearken packages sync'"
        )
        goes_on(club.gateway)
        club.gateway.release()
        assert await first.wait() == 1
    second = await hearken(club.url, *SYNC, **environment)
    assert (second.code, second.json["result"]["totalProfiles"]) == (0, 30)
