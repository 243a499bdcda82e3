"""A folding handler, level-triggered: only the newest event of a key counts."""

from __future__ import annotations

from tests.support.observed import BATCH
from tests.support.observed.dying import pass_by
from tests.support.observed.reporting import reported
from worker import Change, Context, on


@on("public.things", fold=True, batch=BATCH, concurrency=2)
async def see_newest(change: Change, ctx: Context) -> None:
    """Tell of the newest event of each key in a batch."""
    pass_by("before the effect")
    async with reported(change, ctx):
        pass_by("after the effect")
