"""An external handler that begins an effect after the witness has let it go on, and tells when it was recorded."""

from __future__ import annotations

from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.things")
async def effect(change: Change, ctx: Context) -> None:
    """Wait, then write outside: all that is outside is the ledger."""
    async with reported(change, ctx), ctx.effect(change, "write", {"version": change.id}) as written:
        written.done()
