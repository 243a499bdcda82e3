"""An external handler that does not let itself be cancelled."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.things")
async def resist(change: Change, ctx: Context) -> None:
    """Tell of the event, and never end."""
    async with reported(change, ctx):
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
