"""active_game_sessions_v2 → purchases.session_status and session_events: a purchase shows the status of its session.

Two halves of two kinds. What happened is recorded from the events, one row for each. What is now is read from
the sessions, not from the events, so a batch that is late, or a replay, leaves a purchase no less right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from handlers.sessions.batch import clear, lock, records, say_who
from worker import Change, Context, on

# Returns the purchases of the sessions. The snapshots of a backfill are no changes.
WRITE_DOWN: LiteralString = """
with events as materialized (
    select e.*, (coalesce(e.new, e.old) ->> 'purchase_id')::bigint as purchase_id
    from jsonb_to_recordset(%s)
         as e (id bigint, at timestamptz, op text, key bigint, old jsonb, new jsonb, note jsonb)),
told as (
    insert into public.session_events (event_id, session_id, purchase_id, what, "by", before, after, created_at)
    select e.id, e.key, e.purchase_id, e.op, coalesce(e.note ->> 'by', 'application'), e.old, e.new, e.at
    from events e where e.op <> 'snapshot'
    order by e.id
    on conflict (event_id) do nothing)
select array_agg(distinct purchase_id) as purchases from events
"""
FOLLOW: LiteralString = """
update public.purchases p set session_status = d.due, updated_at = (select public.sessions_clock())
from public.session_disagreements d
where d.purchase_id = any(%(purchases)s) and p.id = any(%(purchases)s) and p.id = d.purchase_id
"""
# Its session is over, or was deleted.
USE_UP: LiteralString = """
update public.invoices i set status = 'used', updated_at = (select public.sessions_clock())
where i.purchase_id = any(%(purchases)s) and i.status = 'active'
  and not exists (select from public.active_game_sessions_v2 s
                  where s.purchase_id = i.purchase_id and s.status in ('ready', 'active', 'paused'))
"""


@on("public.active_game_sessions_v2", watch=("status",), ops=("insert", "update", "delete"), transactional=True)
async def follow_session(changes: Sequence[Change], ctx: Context) -> None:
    """Give purchases the status of their session, and record what happened to it."""
    row = await (await ctx.transaction.execute(WRITE_DOWN, (records(changes),))).fetchone()
    purchases: list[int] = row["purchases"] if row is not None else []
    await say_who(ctx, "its session")
    await lock(ctx, purchases)
    for statement in (FOLLOW, USE_UP):
        await ctx.transaction.execute(statement, {"purchases": purchases})
    await clear(ctx, purchases)
