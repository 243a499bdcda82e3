"""active_game_sessions_v2 → purchases.session_status and session_events: what a session is, its purchase says too.

Two halves with two natures. What happened is written down from the events, one row for each. What is now is read from
the sessions, not from the events, so a batch that is late, or a replay, leaves a purchase no less right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from handlers.sessions.batch import columns
from worker import Change, Context, on

# Of a purchase's sessions the live one counts, else the newest. One that was deleted while it lived was cancelled.
FOLLOW: LiteralString = """
with events as materialized (
    select e.*, (coalesce(e.new, e.old) ->> 'purchase_id')::bigint as purchase_id
    from unnest(%(id)s::bigint[], %(at)s::timestamptz[], %(op)s::text[], %(key)s::bigint[],
                %(old)s::jsonb[], %(new)s::jsonb[], %(note)s::jsonb[]) as e (id, at, op, key, old, new, note)),
told as (
    insert into public.session_events (event_id, session_id, purchase_id, what, "by", before, after, created_at)
    select e.id, e.key, e.purchase_id, e.op, coalesce(e.note ->> 'by', 'application'), e.old, e.new, e.at
    from events e where e.op <> 'snapshot'
    order by e.id
    on conflict (event_id) do nothing),
now as (
    select p.id, p.session_status as was, s.status
    from (select distinct purchase_id from events) e
    join public.purchases p on p.id = e.purchase_id
    left join lateral (
        select s.status from public.active_game_sessions_v2 s where s.purchase_id = p.id
        order by s.status in ('ready', 'active', 'paused') desc, s.id desc limit 1) s on true)
update public.purchases p set session_status = coalesce(now.status, 'cancelled'), updated_at = now()
from now
where p.id = now.id
  and case when now.status is null then now.was in ('ready', 'active', 'paused')
           else p.session_status is distinct from now.status end
"""


@on("public.active_game_sessions_v2", watch=("status",), transactional=True)
async def follow_session(changes: Sequence[Change], ctx: Context) -> None:
    """Let purchases have the status of their session, and write down what happened to it."""
    await ctx.transaction.execute(FOLLOW, columns(changes))
