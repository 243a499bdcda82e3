"""Promise: a tick goes the way of every event: appended when it is due, delivered, folded, parked, replayed."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from tests.support.clock import minutes, stop_clock, ticks, utc
from tests.support.replays import replay_again
from tests.support.things import connect
from worker import Change, Context, Park, Retry
from worker.declare.registry import Registry
from worker.operate.audit import Actor
from worker.operate.events import Filter, find_events
from worker.operate.handlers import pause, resume
from worker.postgres.database import Database
from worker.settings import Settings
from worker.sources.ticker import Ticker
from worker.sources.timetable import append_ticks
from worker.testing import Bench, bench

BEGIN = utc("2026-03-01 10:00:30")
MINUTELY = "* * * * *"
declared = Registry()


@dataclass
class Given:
    """What the handlers were given, and what they are to raise."""

    due: list[tuple[str, list[datetime | None]]] = field(default_factory=list)
    outcome: Exception | None = None

    def take(self) -> list[tuple[str, list[datetime | None]]]:
        taken, self.due = self.due, []
        return taken


given = Given()


@declared.every(MINUTELY)
async def newest(change: Change, ctx: Context) -> None:
    """Of what was missed it wants the newest."""
    given.due.append((ctx.handler, [change.due]))
    if given.outcome is not None:
        raise given.outcome


@declared.every(MINUTELY, catch_up="all", transactional=True)
async def every_one(changes: Sequence[Change], ctx: Context) -> None:
    """It wants them all."""
    given.due.append((ctx.handler, [change.due for change in changes]))


@declared.every("0 * * * *", catch_up="skip", name="hourly", transactional=True)
async def in_time(changes: Sequence[Change], ctx: Context) -> None:
    """It wants nothing late."""
    given.due.append((ctx.handler, [change.due for change in changes]))


@dataclass
class Stage:
    """A bench with these handlers, whose clock stands where the test puts it, and a ticker that turns when told."""

    url: str
    bench: Bench
    ticker: Ticker

    async def turn_at(self, time: datetime) -> float:
        """What a worker does that looks at that time; returns the seconds until it looks again."""
        await stop_clock(self.url, time)
        return await self.ticker.turn()


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    given.take()
    given.outcome = None
    await stop_clock(database_url, BEGIN)
    database = Database(Settings.model_validate({"DATABASE_URL": database_url}))
    async with bench(database_url, newest, every_one, in_time, declared=declared) as opened:
        yield Stage(database_url, opened, Ticker(database, declared.handlers.values()))


async def test_nothing_is_owed_of_before_it_was_declared(stage: Stage) -> None:
    """A schedule starts when it is migrated, and is looked at when its next tick is due."""
    assert await stage.ticker.turn() == 30.0
    assert await ticks(stage.url, "newest") == []


async def test_each_due_time_makes_one_tick(stage: Stage) -> None:
    """However often one looks; its key is the schedule's name."""
    for _ in range(3):
        assert await stage.turn_at(utc("2026-03-01 10:01:00.25")) == 59.75
    await stage.turn_at(utc("2026-03-01 10:02"))
    for name in ("newest", "every_one"):
        assert await ticks(stage.url, name) == minutes(utc("2026-03-01 10:01"), 2)
    events = await stage.bench.execute("select op, key, old, origin from hearken.events where topic = 'tick/newest'")
    assert events == [{"op": "tick", "key": "newest", "old": None, "origin": None}] * 2


async def test_a_clock_that_is_set_back_makes_nothing_twice(stage: Stage) -> None:
    """As after a failover to a server whose clock is behind: nothing until it is past what was."""
    await stage.turn_at(utc("2026-03-01 10:05"))
    assert await stage.turn_at(utc("2026-03-01 10:03:30")) == 150.0
    await stage.turn_at(utc("2026-03-01 10:06"))
    assert (await ticks(stage.url, "every_one")) == minutes(utc("2026-03-01 10:01"), 6)


async def test_both_kinds_of_handler_get_their_ticks(stage: Stage) -> None:
    """One at a time, or as a batch; after an hour without a worker as their policies say."""
    await stage.turn_at(utc("2026-03-01 11:00:10"))
    await stage.bench.drain()
    hour = minutes(utc("2026-03-01 10:01"), 60)
    assert given.take() == [("newest", hour[-1:]), ("every_one", hour), ("in_time", hour[-1:])]
    await stage.turn_at(utc("2026-03-01 12:00:40"))
    await stage.bench.drain()
    assert [handler for handler, _ in given.take()] == ["newest", "every_one"], "12:00 was missed by 40 s"
    await stage.turn_at(utc("2026-03-01 13:00:01"))
    await stage.bench.drain()
    assert ("in_time", [utc("2026-03-01 13:00")]) in given.take()


async def test_a_long_outage_is_caught_up_in_one_turn(stage: Stage) -> None:
    """Two days of minutes, in several transactions."""
    assert await stage.turn_at(utc("2026-03-03 10:00:30")) == 30.0
    assert await ticks(stage.url, "every_one") == minutes(utc("2026-03-01 10:01"), 2 * 24 * 60)


async def test_a_paused_handler_misses_what_its_policy_lets_it_miss(stage: Stage) -> None:
    """Ticks are appended all the while; on resuming the newest counts, or all do."""
    for name in declared.handlers:
        await pause(stage.bench.connection, name, Actor("me", "a migration"))
    for time in minutes(utc("2026-03-01 10:01"), 5):
        await stage.turn_at(time)
    await stage.bench.drain()
    assert given.take() == []
    assert len(await ticks(stage.url, "newest")) == 5
    for name in declared.handlers:
        await resume(stage.bench.connection, name, Actor("me"))
    await stage.bench.drain()
    five = minutes(utc("2026-03-01 10:01"), 5)
    assert given.take() == [("newest", five[-1:]), ("every_one", five)]


async def test_after_a_long_pause_the_newest_comes_alone(stage: Stage) -> None:
    """Hundreds of ticks are one batch, whatever the size of others."""
    due = minutes(utc("2026-03-01 10:01"), 900)
    await append_ticks(stage.bench.connection, "newest", due)
    await stage.bench.drain()
    assert given.take() == [("newest", due[-1:])]


async def test_a_newer_tick_takes_the_place_of_one_that_failed(stage: Stage) -> None:
    """Otherwise a handler that is late would work through what is long past."""
    given.outcome = Retry("not yet", after=3600)
    await stage.bench.tick("newest", utc("2026-03-01 10:01"))
    await stage.bench.drain()
    given.outcome = None
    await stage.bench.tick("newest", utc("2026-03-01 10:02"))
    await stage.bench.drain()
    assert [due for _, (due,) in given.take()] == minutes(utc("2026-03-01 10:01"), 2)
    assert await stage.bench.parked() == []


async def test_a_dead_tick_is_listed_like_any_event(stage: Stage) -> None:
    """With its reason."""
    given.outcome = Park("a person must look")
    await stage.bench.tick("newest")
    await stage.bench.drain()
    (parked,) = await stage.bench.parked()
    assert (parked["topic"], parked["key"], parked["state"]) == ("tick/newest", "newest", "dead")
    assert parked["reason"] == "a person must look"


async def test_a_replayed_tick_is_due_when_it_was(stage: Stage) -> None:
    """So that a handler does again what it did for that time."""
    await stage.turn_at(utc("2026-03-01 10:01"))
    await stage.bench.drain()
    given.take()
    connection, topics = stage.bench.connection, ["tick/newest"]
    events = await find_events(connection, Filter(topics), limit=1)
    ids = [event.id for event in events]
    assert await replay_again(connection, declared.handlers, "tick/newest", ids) == {"newest": 1}
    await stage.bench.drain()
    assert given.take() == [("newest", [utc("2026-03-01 10:01")])]


async def test_a_worker_without_schedules_asks_nothing() -> None:
    """Nor does its ticker: it is over at once, whatever the database."""
    database = Database(Settings.model_validate({"DATABASE_URL": "postgresql://nowhere.invalid/x"}))
    await Ticker(database, []).run()


async def test_a_schedule_that_another_worker_has_is_left_to_it(stage: Stage) -> None:
    """It is looked at again soon, for the other may die."""
    async with await connect(stage.url) as other, other.transaction():
        await other.execute("select from hearken.schedules where name = 'every_one' for update")
        assert await stage.turn_at(utc("2026-03-01 10:01")) == 0.5
        assert await ticks(stage.url, "newest") == [utc("2026-03-01 10:01")]
        assert await ticks(stage.url, "every_one") == []
    await stage.ticker.turn()
    assert await ticks(stage.url, "every_one") == [utc("2026-03-01 10:01")]


async def test_a_schedule_that_this_machine_cannot_read_stops_no_other(stage: Stage) -> None:
    """A zone that only another machine knows, say."""
    await stage.bench.execute("update hearken.schedules set tz = 'Mars/Olympus' where name = 'every_one'")
    assert await stage.turn_at(utc("2026-03-01 10:01")) == 60.0
    assert await ticks(stage.url, "newest") == [utc("2026-03-01 10:01")]
    await stage.bench.execute("update hearken.schedules set tz = 'Mars/Olympus'")
    assert await stage.turn_at(utc("2026-03-01 10:02")) == math.inf
