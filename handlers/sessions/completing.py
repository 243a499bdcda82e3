"""public.purchases → invoices: what is paid has an invoice, what is refunded has no playing time.

The rows are read as they are now; an event only says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from handlers.sessions.batch import clear, lock, say_who
from worker import Change, Context, Park, on

# What has been played, before there were these handlers, is not played again: it gets no invoice.
WITHOUT_MINUTES: LiteralString = """
select from public.purchases p
where p.id = any(%s) and p.payment_status = 'completed' and coalesce(p.minutes, 0) <= 0
  and coalesce(p.session_status, 'pending') in ('pending', 'reserved')
  and not exists (select from public.active_game_sessions_v2 s where s.purchase_id = p.id)
  and not exists (select from public.invoices i where i.purchase_id = p.id)
limit 1
"""
# Upper case and digits make the smallest code. Whoever knows a number cannot make up what stands behind it.
INVOICE: LiteralString = """
insert into public.invoices (purchase_id, number, qr_content, expires_at)
select p.id, n.number, n.number || '-' || upper(replace(gen_random_uuid()::text, '-', '')),
       greatest(public.sessions_clock(), p.scheduled_for) + interval '60 days'
from public.purchases p
cross join lateral (
    select 'INV-' || to_char(p.created_at at time zone 'UTC', 'YYYY') || '-'
           || lpad(p.id::text, greatest(6, length(p.id::text)), '0')) n (number)
where p.id = any(%s) and p.payment_status = 'completed'
  and coalesce(p.session_status, 'pending') in ('pending', 'reserved')
  and not exists (select from public.active_game_sessions_v2 s where s.purchase_id = p.id)
  and not exists (select from public.invoices i where i.purchase_id = p.id)
order by p.id
on conflict (purchase_id) do nothing
"""
WAIT: LiteralString = """
update public.purchases p set session_status = n.status, updated_at = (select public.sessions_clock())
from public.purchases o
cross join lateral (
    select case when o.scheduled_for > public.sessions_clock() then 'reserved' else 'pending' end) n (status)
where p.id = any(%s) and o.id = p.id and p.payment_status = 'completed'
  and coalesce(p.session_status, 'pending') in ('pending', 'reserved') and p.session_status is distinct from n.status
  and not exists (select from public.active_game_sessions_v2 s where s.purchase_id = p.id)
"""
CLOSE: LiteralString = """
update public.invoices i set status = 'cancelled', updated_at = (select public.sessions_clock())
from public.purchases p
where p.id = any(%s) and p.payment_status = 'refunded' and i.purchase_id = p.id and i.status in ('pending', 'active')
"""
CANCEL: LiteralString = """
select public.cancel_session(s.id) from (
    select s.id from public.active_game_sessions_v2 s join public.purchases p on p.id = s.purchase_id
    where p.id = any(%s) and p.payment_status = 'refunded' and s.status in ('ready', 'active', 'paused')
    order by s.id for update of s) s
"""
GIVE_UP: LiteralString = """
update public.purchases p set session_status = 'cancelled', updated_at = (select public.sessions_clock())
where p.id = any(%s) and p.payment_status = 'refunded'
  and coalesce(p.session_status, 'pending') in ('pending', 'reserved')
"""


@on("public.purchases", watch=("payment_status", "scheduled_for"), ops=("insert", "update"), transactional=True)
async def complete_purchase(changes: Sequence[Change], ctx: Context) -> None:
    """Give what is paid its invoice, and end what is refunded."""
    keys = sorted({int(change.key) for change in changes if change.key is not None})
    await lock(ctx, keys)
    if await (await ctx.transaction.execute(WITHOUT_MINUTES, (keys,))).fetchone() is not None:
        raise Park(
            "paid, but the package has no minutes: set minutes of the purchase and retry this event, or refund the "
            "purchase and skip this event"
        )
    await say_who(ctx, "paid")
    for statement in (INVOICE, WAIT):
        await ctx.transaction.execute(statement, (keys,))
    await say_who(ctx, "refunded")
    for statement in (CLOSE, CANCEL, GIVE_UP):
        await ctx.transaction.execute(statement, (keys,))
    await clear(ctx, keys)
