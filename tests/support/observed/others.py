"""An external handler of another table, so that one process sleeps on two topics."""

from __future__ import annotations

from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.others")
async def see_others(change: Change, ctx: Context) -> None:
    """Tell of each event."""
    async with reported(change, ctx):
        pass
