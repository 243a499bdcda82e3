"""A transactional handler: its effect is a row per event in `mirror`, told of by a NOTIFY on the channel of that name."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.observed import BATCH
from tests.support.observed.dying import pass_by
from worker import Change, Context, on

MIRROR = "create table if not exists mirror (id bigint generated always as identity, event bigint, key text, version int)"
WRITE = "insert into mirror (event, key, version) select * from unnest(%s::bigint[], %s::text[], %s::int[])"


@on("public.things", transactional=True, batch=BATCH)
async def mirror(changes: Sequence[Change], ctx: Context) -> None:
    """Write every event down, in order. Nothing but the engine keeps it from being written twice."""
    pass_by("before the effect")
    rows = [change.new or change.old or {} for change in changes]
    await ctx.transaction.execute(
        WRITE, ([c.id for c in changes], [c.key for c in changes], [row.get("version") for row in rows])
    )
    await ctx.transaction.execute("notify mirror")
    pass_by("after the effect")
