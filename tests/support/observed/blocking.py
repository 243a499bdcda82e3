"""An external handler that blocks the event loop of its worker."""

from __future__ import annotations

import threading

from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.things")
async def block(change: Change, ctx: Context) -> None:
    """Tell of the event, and let nothing else run."""
    async with reported(change, ctx):
        threading.Event().wait()
