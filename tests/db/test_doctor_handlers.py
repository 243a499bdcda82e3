"""Promise: `hearken doctor` says of each handler, and of the canary, what keeps it from delivering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.doctor import examined, watched
from tests.support.served import execute, prepare, served
from tests.support.waiting import eventually
from worker import Change, Context, Park
from worker.declare.builtin import CANARY
from worker.declare.registry import Registry

INSERT = "insert into things values (1, 'x')"
RUNNING = "select 1 from hearken.parked where state = 'running'"
ANOTHER = "insert into things values (2, 'x')"


@pytest.fixture
async def url(empty_database_url: str) -> AsyncIterator[str]:
    """A database in which `things` are watched."""
    await prepare(empty_database_url, watched())
    yield empty_database_url


async def test_one_that_has_nothing_to_do_is_fine(url: str) -> None:
    """With nobody to run it, too: nothing waits for that."""
    findings = await examined(url, watched())
    assert findings.about("handler hear").text == "no worker runs it; nothing undelivered"
    assert not any("hearken.canary" in finding.name for finding in findings if finding.name.startswith("handler"))


async def test_one_that_is_not_enrolled(url: str) -> None:
    """In the code and not in the tables."""
    await execute(url, "delete from hearken.cursors where handler = 'hear'")
    (await examined(url, watched())).problem("handler hear", "is in the code but has no cursor: run `hearken migrate`")


async def test_one_that_is_gone_from_the_code(url: str) -> None:
    """In the tables and not in the code."""
    await execute(url, "update hearken.cursors set handler = 'gone' where handler = 'hear'")
    findings = await examined(url, watched())
    findings.problem("handler gone", "is in the database but not in the code", "hearken forget gone")


async def test_a_cursor_from_another_database(url: str) -> None:
    """As after a dump was restored; the canary's as well."""
    await execute(url, "update hearken.cursors set cluster = 'elsewhere'")
    findings = await examined(url, watched())
    findings.problem("handler hear", "its cursor is from another database", "hearken rebase")
    findings.problem("handler hearken.canary", "hearken rebase")


async def test_one_that_is_declared_otherwise(url: str) -> None:
    """By what it differs, and who is to migrate: its workers step aside."""
    await execute(url, "update hearken.declarations set declaration = declaration || '{\"fold\": true}'")
    (await examined(url, watched())).problem(
        "handler hear", "declared otherwise (fold", "workers step aside", "run `hearken migrate` with the newer"
    )


async def test_one_that_is_paused(url: str) -> None:
    """Why, and what lets it go on."""
    await execute(url, "insert into hearken.paused (handler, by, reason) values ('hear', 'anna', 'inventory')")
    await execute(url, INSERT)
    text = (await examined(url, watched())).problem("handler hear", "paused (inventory)", "hearken resume hear")
    assert "no worker" not in text


async def test_dead_events(empty_database_url: str) -> None:
    """How many there are."""
    registry = Registry(engine=[CANARY])

    @registry.on("public.things")
    async def refuse(change: Change, ctx: Context) -> None:
        """Refuse everything."""
        raise Park("no good")

    async with served(empty_database_url, registry) as worker:
        await worker.until_ready()
        await execute(empty_database_url, "insert into things values (1, 'x'), (2, 'y')")
        await worker.until("/metrics", lambda reply: 'hearken_dead_total{handler="refuse"} 2.0' in reply.text)
    (await examined(empty_database_url, registry)).problem("handler refuse", "2 dead events")


async def test_events_that_nobody_delivers(url: str) -> None:
    """Behind, and no worker is there."""
    await execute(url, INSERT)
    findings = await examined(url, watched())
    findings.problem(
        "handler hear", "behind by 1 events, the oldest is", "no worker runs it: start one (`hearken run`)"
    )


async def test_one_that_does_not_move(empty_database_url: str) -> None:
    """A worker has it and is stuck: the worker is named, for its probes say more."""
    registry, called, released = Registry(engine=[CANARY]), asyncio.Event(), asyncio.Event()

    @registry.on("public.things", concurrency=1)
    async def wait(change: Change, ctx: Context) -> None:
        """Wait."""
        called.set()
        await released.wait()

    async with served(empty_database_url, registry) as worker:
        await worker.until_ready()
        await execute(empty_database_url, INSERT)
        await called.wait()
        await eventually(lambda: execute(empty_database_url, RUNNING), "delivery beside the batch", 10, fits=bool)
        await execute(empty_database_url, ANOTHER)
        patient = await examined(empty_database_url, registry)
        assert patient.about("handler wait").text.startswith("working; behind by 1 events")
        findings = await examined(empty_database_url, registry, HEARKEN_STALLED_AFTER="0.001")
        findings.problem("handler wait", "not moving, behind by 1 events", "see /readyz of hearken ")
        released.set()


async def test_a_beat_that_does_not_come_back(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a worker that is connected."""
    async with served(url, watched(), prepared=False, canary_seconds=0.2) as worker:
        await worker.until("/readyz", lambda reply: "the last beat came back" in reply.line("canary"))
        assert "last beats came back (workers: 1)" in (await examined(url, watched())).about("canary").text
        await execute(url, "insert into hearken.paused (handler, by, reason) values ('hearken.canary', 'me', 'why')")
        await worker.until_red("canary", "paused")
        monkeypatch.setattr("worker.doctor.canary.RETURN_WITHIN", 0.0)
        findings = await examined(url, watched())
    findings.problem("canary", "did not come back: its /readyz says which part is silent")
    findings.problem("handler hearken.canary", "paused (why)")


async def test_beats_of_workers_that_are_gone_are_nobodys(url: str) -> None:
    """Their rows stay for a day."""
    await execute(url, "insert into hearken.canary values ('hearken gone:1/abcd', 5, now() - interval '1 hour')")
    finding = (await examined(url, watched())).about("canary")
    assert (finding.state, finding.text) == ("ok", "no connected worker has sent a beat yet")


async def test_a_schedule_whose_ticks_do_not_come(empty_database_url: str) -> None:
    """Due and not appended: since when; before that, that all is well. Not enrolled is said, too."""
    registry = Registry(engine=[CANARY])

    @registry.every("0 2 * * *")
    async def nightly(change: Change, ctx: Context) -> None:
        """Nothing."""

    await prepare(empty_database_url, registry)
    assert (await examined(empty_database_url, registry)).about("schedules").state == "ok"
    await execute(empty_database_url, "update hearken.schedules set last_due = now() - interval '3 days'")
    (await examined(empty_database_url, registry)).problem("schedules", "no tick was appended", "nightly")
    await execute(empty_database_url, "delete from hearken.schedules")
    (await examined(empty_database_url, registry)).problem("schedules", "nightly")


async def test_one_that_the_brake_has_stopped(url: str) -> None:
    """What it saw, and what lets it pass; not the pause that comes with it."""
    await execute(
        url,
        "insert into hearken.brakes (handler, target, deleted, archived, truncated, most)"
        " values ('hear', pg_current_snapshot(), 300, 0, false, 100)",
    )
    await execute(url, "insert into hearken.paused (handler, by, reason) values ('hear', 'brake', 'why')")
    text = (await examined(url, watched())).problem("handler hear", "300 deleted", "hearken resume hear --confirm")
    assert "paused" not in text
