"""A scheduled handler, for commands that run as programs: HEARKEN_HANDLERS names this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from worker import Change, Context, every

TABLE: LiteralString = "create table deliveries (event_id bigint, handler text, key text, replay_of bigint)"
WRITE: LiteralString = "insert into deliveries (event_id, handler, key, replay_of) values (%s, %s, %s, %s)"


@every("0 2 * * *", tz="Europe/Berlin", name="nightly", transactional=True)
async def sweep(changes: Sequence[Change], ctx: Context) -> None:
    """Write every delivery down."""
    for change in changes:
        await ctx.transaction.execute(WRITE, (change.id, ctx.handler, change.key, change.replay_of))
