"""Promise: migrating brings the schedules to what is declared, and loses no tick and makes none up on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from tests.support.clock import minutes, stop_clock, ticks, utc
from tests.support.watched import connect, declare
from worker import Change, Context
from worker.declare.registry import Registry
from worker.errors import MigrationError
from worker.install.migrate import find_pending, migrate
from worker.operate.audit import Actor
from worker.operate.handlers import forget
from worker.sources.timetable import append_owed
from worker.testing import bench

BEGIN = utc("2026-03-01 10:00:30")
MINUTELY = "* * * * *"


@dataclass
class Stage:
    """A migrated database whose clock stands at BEGIN, and handlers that write down what they are given."""

    url: str
    connection: Any
    given: list[tuple[str, datetime | None]] = field(default_factory=list)

    def every(
        self, function: str, cron: str = MINUTELY, /, *, into: Registry | None = None, **options: Any
    ) -> Registry:
        declared = into or Registry()

        async def note(change: Change, ctx: Context) -> None:
            self.given.append((change.topic, change.due))

        note.__name__ = function
        declared.every(cron, **{"catch_up": "all", **options})(note)
        return declared

    async def migrate(self, declared: Registry) -> list[str]:
        """What was done."""
        pending = await migrate(self.connection, declared)
        return [line for line in pending.lines() if not line.startswith("partition")]

    async def pending(self, declared: Registry) -> list[str]:
        return (await find_pending(self.connection, declared)).lines()

    async def tick_at(self, time: datetime, handler: str) -> None:
        """Append what a worker would at that time."""
        await stop_clock(self.url, time)
        await append_owed(self.connection, handler)

    async def deliver(self, declared: Registry) -> list[tuple[str, datetime | None]]:
        functions: list[Callable[..., Any]] = [handler.function for handler in declared.handlers.values()]
        async with bench(self.url, *functions, declared=declared) as opened:
            await opened.drain()
        given, self.given = self.given, []
        return given

    async def rows(self) -> list[dict[str, Any]]:
        cursor = await self.connection.execute("select * from hearken.schedules order by handler")
        rows: list[dict[str, Any]] = await cursor.fetchall()
        return rows


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    await stop_clock(database_url, BEGIN)
    async with connect(database_url) as connection:
        yield Stage(database_url, connection)


async def test_a_schedule_is_enrolled_with_its_cursor(stage: Stage) -> None:
    """From now on; a second migration has nothing to do, and the table's triggers are left in peace."""
    declared = stage.every("sweep", "0 2 * * *", tz="Europe/Berlin", catch_up="skip", name="nightly")
    assert await stage.pending(declared) == ["handler sweep: new, receives tick/nightly from now on"]
    assert await stage.migrate(declared) == ["handler sweep: new, receives tick/nightly from now on"]
    assert await stage.rows() == [
        {
            "handler": "sweep",
            "name": "nightly",
            "cron": "0 2 * * *",
            "tz": "Europe/Berlin",
            "catch_up": "skip",
            "last_due": BEGIN,
        }
    ]
    assert await stage.pending(declared) == []
    assert await stage.migrate(declared) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cron": "0 3 * * *"}, "ticks as sweep at '0 3 * * *' UTC, catch_up all"),
        ({"tz": "Europe/Berlin"}, "ticks as sweep at '0 2 * * *' Europe/Berlin, catch_up all"),
        ({"catch_up": "one"}, "ticks as sweep at '0 2 * * *' UTC, catch_up one"),
        ({"name": "nightly"}, "ticks as nightly at '0 2 * * *' UTC, catch_up all"),
    ],
)
async def test_a_changed_declaration_is_drift_until_it_is_migrated(
    stage: Stage, changed: dict[str, Any], said: str
) -> None:
    """What is asked for by `migrate --check` and at a worker's start says how it will tick."""
    await stage.migrate(stage.every("sweep", "0 2 * * *"))
    declared = stage.every("sweep", changed.pop("cron", "0 2 * * *"), **changed)
    assert await stage.pending(declared) == [f"handler sweep: {said}"]
    assert await stage.migrate(declared) == [f"handler sweep: {said}"]
    assert await stage.pending(declared) == []


async def test_what_the_old_cron_owed_is_appended_before_the_new_one_begins(stage: Stage) -> None:
    """A deployment while no worker runs loses no tick; nor does the new expression reach back."""
    await stage.migrate(stage.every("sweep", "*/10 * * * *"))
    await stop_clock(stage.url, utc("2026-03-01 10:25:30"))
    await stage.migrate(stage.every("sweep"))
    assert await ticks(stage.url, "sweep") == [utc("2026-03-01 10:10"), utc("2026-03-01 10:20")]
    await stage.tick_at(utc("2026-03-01 10:27"), "sweep")
    assert (await ticks(stage.url, "sweep"))[2:] == minutes(utc("2026-03-01 10:26"), 2)


async def test_another_policy_alone_keeps_what_is_owed(stage: Stage) -> None:
    """Nothing is skipped by saying from when on all are wanted."""
    await stage.migrate(stage.every("sweep", catch_up="one"))
    await stage.migrate(stage.every("sweep", catch_up="all"))
    await stage.tick_at(utc("2026-03-01 10:03"), "sweep")
    assert await ticks(stage.url, "sweep") == minutes(utc("2026-03-01 10:01"), 3)


@pytest.mark.parametrize("changed", [{"name": "tidy", "formerly": "sweep"}, {"name": "sweep"}])
async def test_a_handler_of_another_name_takes_over_what_was_owed_and_undelivered(
    stage: Stage, changed: dict[str, Any]
) -> None:
    """Renamed with its schedule or without: every tick comes, once, in order, and none is made up."""
    await stage.migrate(stage.every("sweep"))
    await stage.tick_at(utc("2026-03-01 10:02"), "sweep")
    await stop_clock(stage.url, utc("2026-03-01 10:04"))
    declared = stage.every("tidy", **{"formerly": "sweep", **changed})
    given = await stage.deliver(declared)
    await stage.tick_at(utc("2026-03-01 10:05"), "tidy")
    given += await stage.deliver(declared)
    assert [due for _, due in given] == minutes(utc("2026-03-01 10:01"), 5)
    assert {topic for topic, _ in given} == {f"tick/{changed['name']}"}
    assert [row["handler"] for row in await stage.rows()] == ["tidy"]


async def test_a_schedule_that_gets_another_name_keeps_what_is_undelivered(stage: Stage) -> None:
    """Ticks that were delivered under the old name are not repeated under the new."""
    before, after = stage.every("sweep"), stage.every("sweep", name="nightly")
    await stage.migrate(before)
    await stage.tick_at(utc("2026-03-01 10:01"), "sweep")
    assert await stage.deliver(before) == [("tick/sweep", utc("2026-03-01 10:01"))]
    await stage.tick_at(utc("2026-03-01 10:03"), "sweep")
    given = await stage.deliver(after)
    assert given == [("tick/nightly", due) for due in minutes(utc("2026-03-01 10:02"), 2)]


async def test_what_is_left_of_an_open_window_is_carried_over_once(stage: Stage) -> None:
    """The cursor stood in the middle of a window when its schedule was renamed."""
    before, after = stage.every("sweep", batch=2), stage.every("sweep", batch=2, name="nightly")
    await stage.migrate(before)
    await stage.tick_at(utc("2026-03-01 10:05"), "sweep")
    async with bench(stage.url, before.handlers["sweep"].function, declared=before) as opened:
        await opened.consumers[0].turn()
    assert [due for _, due in stage.given] == minutes(utc("2026-03-01 10:01"), 2)
    assert [due for _, due in await stage.deliver(after)] == minutes(utc("2026-03-01 10:01"), 5)


async def test_a_schedule_can_become_a_handler_of_a_table_and_back(stage: Stage) -> None:
    """The row goes, and comes again from then on."""
    await stage.connection.execute("create table rooms (id int primary key)")
    await stage.migrate(stage.every("sweep"))
    done = await stage.migrate(declare("public.rooms", "sweep"))
    assert done[0] == "handler sweep: has no schedule any more"
    assert await stage.rows() == []
    await stop_clock(stage.url, utc("2026-03-01 12:00:30"))
    await stage.migrate(stage.every("sweep"))
    assert [row["last_due"] for row in await stage.rows()] == [utc("2026-03-01 12:00:30")]


async def test_one_that_is_gone_from_the_code_waits_until_it_is_forgotten(stage: Stage) -> None:
    """Nobody ticks it meanwhile; it comes back with what it missed, or is forgotten with its schedule."""
    declared = stage.every("sweep")
    await stage.migrate(declared)
    assert await stage.migrate(Registry()) == []
    await stop_clock(stage.url, utc("2026-03-01 10:03"))
    assert await stage.pending(declared) == []
    await forget(stage.connection, "sweep", Actor("me"))
    assert await stage.rows() == []
    assert await stage.pending(declared) == ["handler sweep: new, receives tick/sweep from now on"]


async def test_a_new_handler_of_a_schedule_that_is_gone_must_say_so(stage: Stage) -> None:
    """As with tables: it may be the same one, renamed."""
    await stage.migrate(stage.every("sweep", name="nightly"))
    with pytest.raises(MigrationError, match=r"tidy is new and sweep is gone, .*: .*formerly='sweep'"):
        await stage.migrate(stage.every("tidy", name="nightly"))


async def test_two_schedules_that_swap_their_names_are_told_to_do_it_in_two_steps(stage: Stage) -> None:
    """Neither can have the other's while that is there; nothing is changed."""
    await stage.migrate(stage.every("sweep", name="a", into=stage.every("tidy", name="b")))
    before = await stage.rows()
    with pytest.raises(MigrationError, match=r"schedule \w still belongs to another handler"):
        await stage.migrate(stage.every("sweep", name="b", into=stage.every("tidy", name="a")))
    assert await stage.rows() == before
