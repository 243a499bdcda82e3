"""A transactional handler, whose effect is a row per event in the table `mirror`."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.observed import BATCH
from tests.support.observed.dying import pass_by
from tests.support.observed.writing import write
from worker import Change, Context, on


@on("public.things", transactional=True, batch=BATCH)
async def mirror(changes: Sequence[Change], ctx: Context) -> None:
    """Write every event down, in order. Nothing but the engine keeps it from being written twice."""
    pass_by("before the effect")
    await write(changes, ctx)
    pass_by("after the effect")
