"""An external handler with several cursors, which workers share."""

from __future__ import annotations

from tests.support.observed import BATCH
from tests.support.observed.reporting import reported
from worker import Change, Context, on

SHARDS = 4


@on("public.things", batch=BATCH, shards=SHARDS)
async def see_shards(change: Change, ctx: Context) -> None:
    """Tell of each event."""
    async with reported(change, ctx):
        pass
