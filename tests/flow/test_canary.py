"""Promise: a beat goes the way of every event; when it does not come back, /readyz says which part is silent."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.support.served import Reply, Served, execute, served
from tests.support.watched import declare
from worker.declare.builtin import CANARY
from worker.declare.registry import Registry
from worker.dev.embedded import EmbeddedPostgres
from worker.postgres.locks import claim_lock

INTERVAL = 0.4
ROWS = "select worker, sent, returned, returned_at >= sent_at from hearken.canary order by worker"
EVENTS = "select op, key, new->>'sent' from hearken.events where topic = 'hearken.canary' order by id"
FUNCTION = (
    "select pg_get_functiondef(tgfoid) from pg_trigger where tgrelid = 'hearken.canary'::regclass and tgname = %s"
)


def watched() -> Registry:
    """A handler of a table, and the engine's own."""
    return declare("public.things", into=Registry(engine=[CANARY]))


def came_back(reply: Reply) -> bool:
    return reply.status == 200 and "the last beat came back in" in reply.line("canary")


async def beats(worker: Served, count: int) -> None:
    """Wait until so many have come back."""
    await worker.until("/metrics", lambda reply: _sample(reply, "hearken_canary_seconds_count") >= count)


def _sample(reply: Reply, name: str) -> float:
    return next(float(line.split()[-1]) for line in reply.text.splitlines() if line.startswith(f"{name} "))


async def test_a_beat_comes_back_and_its_latency_is_exported(empty_database_url: str) -> None:
    """One event for each beat, none for its return; in /readyz and /metrics its latency."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL) as worker:
        reply = await worker.until_ready()
        assert reply.line("canary") == "ok  canary: no beat has come back yet; one is sent every 0.4 s"
        await beats(worker, 3)
        assert came_back(await worker.until("/readyz", came_back))
        events = await execute(empty_database_url, EVENTS)
        assert events[:3] == [
            ("insert", events[0][1], "1"),
            ("update", events[0][1], "2"),
            ("update", events[0][1], "3"),
        ]
        ((name, sent, _, _),) = await execute(empty_database_url, ROWS)
        assert name == events[0][1]
        assert sent in (len(events), len(events) + 1)
        total = _sample(await worker.get("/metrics"), "hearken_canary_seconds_sum")
        assert 0 < total < 10
    assert await execute(empty_database_url, ROWS) == [], "a worker that ends takes its row along"


async def test_the_first_beat_comes_after_the_interval(empty_database_url: str) -> None:
    """Before it there is no row, no event, and nobody asleep on the canary's topic."""
    async with served(empty_database_url, watched(), canary_seconds=3600) as worker:
        await worker.until_ready()
        assert await execute(empty_database_url, ROWS) == []
        assert worker.app.canary is not None
        assert worker.app.canary.consumer.progress.turn is None
    assert await execute(empty_database_url, EVENTS) == []


async def test_between_two_beats_nothing_is_polled(empty_database_url: str) -> None:
    """A consumer sleeps from one beat to the next: it is woken as often as beats are sent, and when it begins."""
    async with served(empty_database_url, watched(), canary_seconds=1.0) as worker:
        await beats(worker, 3)
        metrics = await worker.get("/metrics")
        woken = _sample(metrics, 'hearken_wakeups_total{handler="hearken.canary"}')
        events = await execute(empty_database_url, EVENTS)
        assert woken - 1 <= len(events) <= _sample(metrics, "hearken_canary_seconds_count") + 1
        assert _sample(metrics, 'hearken_wakeups_total{handler="hear"}') <= 1


async def test_zero_turns_it_off(empty_database_url: str) -> None:
    """No check, no row, no consumer."""
    async with served(empty_database_url, watched(), canary_seconds=0) as worker:
        reply = await worker.until_ready()
        assert "canary" not in reply.text
        assert worker.app.canary is None


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("alter table hearken.canary disable trigger all", "alter table hearken.canary enable trigger all"),
        ("alter table hearken.canary enable replica trigger hearken_update", "enable trigger hearken_update"),
    ],
)
async def test_a_trigger_that_is_silent(empty_database_url: str, broken: str, mended: str) -> None:
    """The beat is committed and makes no event: the trigger. Mended, the next beat comes back."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL) as worker:
        await beats(worker, 1)
        await execute(empty_database_url, broken)
        line = await worker.until_red("canary", "trigger: a beat made no event in the log", "hearken doctor")
        assert line.startswith("RED canary: trigger")
        assert 'hearken_canary_silent{part="trigger"} 1.0' in (await worker.get("/metrics")).text
        await execute(
            empty_database_url, mended.replace("enable trigger h", "alter table hearken.canary enable trigger h")
        )
        await worker.until("/readyz", came_back)
        assert 'hearken_canary_silent{part="trigger"} 0.0' in (await worker.get("/metrics")).text


async def test_a_doorbell_that_is_silent(empty_database_url: str) -> None:
    """A trigger that does not notify: the event is in the log and everyone sleeps. That is said, and overcome."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL, listen_check=1000) as worker:
        await beats(worker, 1)
        ((function,),) = await execute(empty_database_url, FUNCTION, "hearken_update")
        function = function.replace("%", "%%")
        await execute(empty_database_url, function.replace("pg_notify(", "concat("))
        line = await worker.until_red("canary", "doorbell: the event is in the log")
        assert "no notification has woken it" in line
        await execute(empty_database_url, function)
        await worker.until("/readyz", came_back)


async def test_a_consumer_that_is_paused(empty_database_url: str) -> None:
    """Said with the reason and what to do; meanwhile no beats pile up in the log."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL) as worker:
        await beats(worker, 1)
        await execute(
            empty_database_url,
            "insert into hearken.paused (handler, by, reason) values ('hearken.canary', 'me', 'why')",
        )
        await worker.until_red("canary", "consumer: paused (why): run `hearken resume hearken.canary`")
        before = len(await execute(empty_database_url, EVENTS))
        looked = asyncio.get_running_loop().time() + 4 * INTERVAL
        await worker.until("/readyz", lambda _: asyncio.get_running_loop().time() > looked)
        assert len(await execute(empty_database_url, EVENTS)) <= before + 1
        await execute(empty_database_url, "delete from hearken.paused")
        await worker.until("/readyz", came_back)


async def test_a_consumer_whose_cursor_somebody_keeps(empty_database_url: str) -> None:
    """Claimed and not let go: who has it is named."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL, stalled_after=0.5) as worker:
        await beats(worker, 1)
        url = f"{empty_database_url}?application_name=greedy"
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as greedy:
            await greedy.execute("select pg_advisory_lock(%s)", (claim_lock("hearken.canary", 0),))
            await worker.until_red("canary", "consumer: greedy has claimed the cursor")
        await worker.until("/readyz", came_back)


async def test_a_consumer_whose_cursor_is_from_elsewhere(empty_database_url: str) -> None:
    """A restored dump: what to run. Nothing of the watched tables needs to change for that to be seen."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL) as worker:
        await beats(worker, 1)
        await execute(empty_database_url, "update hearken.cursors set cluster = 'x' where handler = 'hearken.canary'")
        await worker.until_red("canary", "consumer: its cursor is from another database: run `hearken rebase`")


async def test_without_a_cursor_the_worker_works_all_the_same(empty_database_url: str) -> None:
    """A canary that is not enrolled is red with the command, and keeps nobody from working."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL) as worker:
        await beats(worker, 1)
        await execute(empty_database_url, "delete from hearken.cursors where handler = 'hearken.canary'")
        await worker.until_red("canary", "consumer: hearken.canary has no cursor: run `hearken migrate`")
        await execute(empty_database_url, "insert into things values (1, 'x')")
        await worker.until("/metrics", lambda reply: 'hearken_delivered_total{handler="hear"} 1.0' in reply.text)


async def test_each_of_several_workers_learns_of_its_own(empty_database_url: str) -> None:
    """One of them runs the cursor; both hear that their beats came through, and each has its row."""
    async with (
        served(empty_database_url, watched(), canary_seconds=INTERVAL) as one,
        served(empty_database_url, watched(), canary_seconds=INTERVAL, prepared=False) as other,
    ):
        await asyncio.gather(beats(one, 3), beats(other, 3))
        assert len(await execute(empty_database_url, ROWS)) == 2


async def test_the_row_of_a_worker_that_was_killed_is_removed(empty_database_url: str) -> None:
    """By whoever beats next, when it is a day old; a younger one may be that of a worker that is cut off."""
    async with served(empty_database_url, watched(), canary_seconds=INTERVAL) as worker:
        await worker.until_ready()
        await execute(
            empty_database_url,
            "insert into hearken.canary values ('old', 1, now() - interval '25 h'), ('young', 1, now())",
        )
        await beats(worker, 1)
        assert {row[0] for row in await execute(empty_database_url, ROWS)} & {"old", "young"} == {"young"}


async def test_a_database_that_was_away_makes_no_pile(postgres: EmbeddedPostgres) -> None:
    """While it is away nothing is sent or kept for later; when it is back, beats come back."""
    async with served(postgres.url, watched(), canary_seconds=INTERVAL) as worker:
        await beats(worker, 1)
        before = len(await execute(postgres.url, EVENTS))
        await asyncio.to_thread(postgres.stop)
        await worker.until_red("database", "refused")
        away_until = asyncio.get_running_loop().time() + 5 * INTERVAL
        await worker.until("/readyz", lambda _: asyncio.get_running_loop().time() > away_until)
        await asyncio.to_thread(postgres.start)
        assert len(await execute(postgres.url, EVENTS)) <= before + 2
        await beats(worker, before + 1)
        await worker.until("/readyz", came_back)
