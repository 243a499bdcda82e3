"""An external handler, whose effect is what the witness hears. Batches are small, so that there are several."""

from __future__ import annotations

from tests.support.observed import BATCH
from tests.support.observed.dying import pass_by
from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.things", batch=BATCH, concurrency=2)
async def see(change: Change, ctx: Context) -> None:
    """Tell of each event, by itself."""
    pass_by("before the effect")
    async with reported(change, ctx):
        pass_by("after the effect")
