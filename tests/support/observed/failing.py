"""An external handler whose first attempt at anything fails, to be tried again a second later."""

from __future__ import annotations

from tests.support.observed import BATCH
from tests.support.observed.dying import pass_by
from tests.support.observed.reporting import reported
from worker import Change, Context, Retry, on

DELAY = 1.0


@on("public.things", batch=BATCH)
async def see_at_the_second_try(change: Change, ctx: Context) -> None:
    """Tell of every attempt."""
    if change.attempt > 1:
        pass_by("before the effect")
    async with reported(change, ctx):
        if change.attempt == 1:
            raise Retry("the first attempt always fails", after=DELAY)
        pass_by("after the effect")
