"""The effect of the transactional handlers: a row per event in `mirror`, told of by a NOTIFY on a channel named so.

Nothing but the engine keeps it from being written twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from worker import Change, Context

MIRROR = (
    "create table if not exists mirror (id bigint generated always as identity, event bigint, key text, version int)"
)
WRITE = "insert into mirror (event, key, version) select * from unnest(%s::bigint[], %s::text[], %s::int[])"


async def write(changes: Sequence[Change], ctx: Context) -> None:
    """Write every event down, in order; for a delete, the version that was deleted."""
    rows = [change.new or change.old or {} for change in changes]
    versions = [row.get("version") for row in rows]
    await ctx.transaction.execute(WRITE, ([c.id for c in changes], [c.key for c in changes], versions))
    await ctx.transaction.execute("notify mirror")
