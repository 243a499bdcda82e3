"""A transactional handler like `transactional`, that waits for the witness between its writes and its end."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.observed import BATCH
from tests.support.observed.reporting import reported
from tests.support.observed.writing import write
from worker import Change, Context, on


@on("public.things", transactional=True, batch=BATCH)
async def mirror_slowly(changes: Sequence[Change], ctx: Context) -> None:
    """Write the events down, and tell of the first of them."""
    await write(changes, ctx)
    async with reported(changes[0], ctx):
        pass
