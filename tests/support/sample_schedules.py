"""A scheduled handler beside the sample handlers, for commands that run as programs: HEARKEN_HANDLERS names this.

`tests.support.cli`, which those are forked from, has the sample handlers loaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.sample_handlers import WRITE
from worker import Change, Context, every


@every("0 2 * * *", tz="Europe/Berlin", name="rooms.nightly", transactional=True)
async def sweep_rooms(changes: Sequence[Change], ctx: Context) -> None:
    """Write every delivery down."""
    for change in changes:
        await ctx.transaction.execute(WRITE, (change.id, ctx.handler, change.key, change.replay_of))
