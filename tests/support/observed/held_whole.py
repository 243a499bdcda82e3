"""A transactional handler: while the witness holds it, its batch lasts."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.things", transactional=True)
async def hold_all(changes: Sequence[Change], ctx: Context) -> None:
    """Tell of each event."""
    for change in changes:
        async with reported(change, ctx):
            pass
