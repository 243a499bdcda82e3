"""An external handler whose deliveries never fly: while the witness holds one, its batch lasts."""

from __future__ import annotations

from tests.support.observed.reporting import reported
from worker import Change, Context, on
from worker.deliver import external

external.PATIENCE = 3600.0
external.STARTING = 3600.0


@on("public.things")
async def hold(change: Change, ctx: Context) -> None:
    """Tell of each event."""
    async with reported(change, ctx):
        pass
