"""Promise: what became of each tick and request is kept, with its result or the reason."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.asking import Endpoints, asking
from tests.support.waiting import eventually
from worker import Change, Context, Park, Retry, Skip
from worker.declare.registry import Registry
from worker.deliver.runs import sweep
from worker.testing import Bench, bench

RUNS = "select state, attempt, result, error, source, ended_at is not null as over from hearken.runs order by event_id"
DUE = datetime(2026, 3, 1, tzinfo=UTC)


def scheduled(outcomes: list[Any], **options: Any) -> Registry:
    """A schedule whose handler raises or returns these, one per call."""
    registry = Registry()

    @registry.every("* * * * *", name="beat", **options)
    async def beat(changes: Any, ctx: Context) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return registry


async def states(stage: Bench) -> list[tuple[Any, ...]]:
    return [(row["state"], row["attempt"], row["result"], row["error"]) for row in await stage.execute(RUNS)]


async def test_each_outcome_is_kept(database_url: str) -> None:
    """With the attempt, the result, and the reason where there is one."""
    outcomes = [{"mended": 3}, Skip("nothing to do"), Retry("later", after=60), Park("never")]
    registry = scheduled(outcomes, catch_up="all")
    (handler,) = registry.handlers.values()
    async with bench(database_url, handler.function, declared=registry) as stage:
        for minute in range(3):
            await stage.tick("beat", DUE + timedelta(minutes=minute))
            await stage.drain()
        assert await states(stage) == [
            ("succeeded", 1, {"mended": 3}, None),
            ("skipped", 1, None, "nothing to do"),
            ("waiting", 1, None, "later"),
        ]
        await stage.execute("update hearken.parked set due_at = now()")
        await stage.drain()
        assert (await states(stage))[2] == ("dead", 2, None, "never")


async def test_folded_ticks_are_superseded(database_url: str) -> None:
    """Of three only the newest is given to the handler; an older one that was to be tried again is over too."""
    registry = scheduled([Retry("later", after=60), "done"])
    (handler,) = registry.handlers.values()
    async with bench(database_url, handler.function, declared=registry) as stage:
        await stage.tick("beat", DUE)
        await stage.drain()
        await stage.tick("beat", DUE + timedelta(minutes=1))
        await stage.tick("beat", DUE + timedelta(minutes=2))
        await stage.drain()
        assert [(row["state"], row["over"]) for row in await stage.execute(RUNS)] == [
            ("superseded", True),
            ("succeeded", True),
        ]


async def test_a_transactional_run_is_kept_with_its_batch(database_url: str) -> None:
    """The result of the batch is that of each of its ticks."""
    registry = scheduled([7], transactional=True, catch_up="all")
    (handler,) = registry.handlers.values()
    async with bench(database_url, handler.function, declared=registry) as stage:
        await stage.tick("beat", DUE)
        await stage.tick("beat", DUE + timedelta(minutes=1))
        await stage.drain()
        assert await states(stage) == [("succeeded", 1, 7, None)] * 2


async def test_a_handler_of_rows_keeps_no_runs(database_url: str) -> None:
    """Of those the log and the ledger tell; what it returns would be read by nobody, and is refused as before."""
    registry = Registry()

    @registry.on("public.things")
    async def follow(change: Change, ctx: Context) -> Any:
        return 5

    async with bench(database_url) as stage:
        await stage.execute("create table things (id int primary key)")
    async with bench(database_url, follow, declared=registry) as stage:
        await stage.execute("insert into things values (1)")
        await stage.drain()
        assert await states(stage) == []
        (parked,) = await stage.parked()
        assert parked["reason"] == "returned a int: a handler returns None, or raises an outcome"


async def test_old_runs_are_swept(database_url: str) -> None:
    """Those that have ended as long ago as the log goes back, and no others."""
    registry = scheduled(["old", "new", Retry("later", after=60)], catch_up="all")
    (handler,) = registry.handlers.values()
    async with bench(database_url, handler.function, declared=registry) as stage:
        for minute in range(3):
            await stage.tick("beat", DUE + timedelta(minutes=minute))
            await stage.drain()
        await stage.execute(
            "update hearken.runs set ended_at = now() - interval '31 days' where result::text <> '\"new\"'"
        )
        assert await sweep(stage.connection, 30) == 1
        assert [state for state, *_ in await states(stage)] == ["succeeded", "waiting"]


async def test_a_long_run_does_not_make_its_worker_unready(database_url: str) -> None:
    """It is one call, and may take as long as its timeout lets it, with others waiting behind it."""
    endpoints = Endpoints().declare()
    endpoints.gate.clear()
    async with asking(database_url, endpoints, stalled_after=0.2, shutdown_timeout=0.1) as asker:
        await asker.post(query="?wait=0")
        await endpoints.called.wait()
        await asker.post(query="?wait=0")
        (consumer,) = asker.worker.app.consumers

        async def still() -> float:
            return time.monotonic() - consumer.progress.moved_at

        await eventually(still, "standstill", fits=lambda seconds: seconds >= 0.4)  # longer than one of rows may be
        reply = await asker.worker.get("/readyz")
        assert (reply.status, reply.line("handler answer_echo")[:3]) == (200, "ok "), reply.text
