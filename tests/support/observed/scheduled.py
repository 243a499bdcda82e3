"""Handlers of schedules that are due every minute, one of each policy. All tell the witness."""

from __future__ import annotations

from tests.support.observed import dying
from tests.support.observed.reporting import reported
from worker import Change, Context, every

assert dying  # so that a worker that is to be killed while it ticks is


@every("* * * * *", catch_up="all")
async def see_all(change: Change, ctx: Context) -> None:
    """Tell of each tick."""
    async with reported(change, ctx):
        pass


@every("* * * * *", catch_up="one")
async def see_one(change: Change, ctx: Context) -> None:
    """Tell of the newest."""
    async with reported(change, ctx):
        pass


@every("* * * * *", catch_up="skip")
async def see_punctual(change: Change, ctx: Context) -> None:
    """Tell of those that are on time."""
    async with reported(change, ctx):
        pass
