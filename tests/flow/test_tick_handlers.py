"""Promise: the author of a handler of ticks can test it, and is told what a tick has and has not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.support.clock import utc
from worker import Change, Context
from worker.declare.registry import Registry
from worker.errors import DeclarationError, UsageError
from worker.testing import bench

declared = Registry()
given: list[datetime | None] = []


@declared.every("0 * * * *", name="hourly")
async def sweep(tick: Change, ctx: Context) -> None:
    """Write down what it is given."""
    given.append(tick.due)


async def test_a_bench_ticks_by_name(database_url: str) -> None:
    """Due when it is told, in any zone, or now; a name or a time that cannot be is refused."""
    given.clear()
    async with bench(database_url, sweep, declared=declared) as stage:
        await stage.tick("hourly", datetime.fromisoformat("2026-03-01T12:00+01:00"))
        await stage.drain()
        before = datetime.now(UTC)
        await stage.tick("hourly")
        await stage.drain()
        first, second = given
        assert first == utc("2026-03-01 11:00")
        assert second is not None
        assert before <= second <= datetime.now(UTC)
        with pytest.raises(UsageError, match="no such schedule: sweep; known: hourly"):
            await stage.tick("sweep")
        with pytest.raises(UsageError, match="has no time zone"):
            await stage.tick("hourly", datetime(2026, 3, 1))  # noqa: DTZ001


async def test_a_tick_has_no_row(database_url: str) -> None:
    """Who asks for one is told what there is instead."""
    registry, said = Registry(), []

    @registry.every("* * * * *")
    async def ask(change: Change, ctx: Context) -> None:
        with pytest.raises(DeclarationError) as refused:
            await ctx.row(change)
        said.append(str(refused.value))

    async with bench(database_url, ask, declared=registry) as stage:
        await stage.tick("ask")
        await stage.drain()
    assert said == [
        "handler 'ask': tick/ask is not a table, so this tick has no row for ctx.row: what it says is in change.new"
    ]
