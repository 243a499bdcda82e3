"""public.invoices → invoice_audit_log: each change of an invoice is written down once, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from handlers.sessions.batch import columns
from worker import Change, Context, on

WRITE_DOWN: LiteralString = """
insert into public.invoice_audit_log (event_id, invoice_id, purchase_id, what, "by", before, after, created_at)
select e.id, e.key, (coalesce(e.new, e.old) ->> 'purchase_id')::bigint, e.op,
       coalesce(e.note ->> 'by', 'application'), e.old, e.new, e.at
from unnest(%(id)s::bigint[], %(at)s::timestamptz[], %(op)s::text[], %(key)s::bigint[],
            %(old)s::jsonb[], %(new)s::jsonb[], %(note)s::jsonb[]) as e (id, at, op, key, old, new, note)
where e.op <> 'snapshot'
order by e.id
on conflict (event_id) do nothing
"""


@on("public.invoices", ops=("insert", "update", "delete"), transactional=True)
async def audit_invoice(changes: Sequence[Change], ctx: Context) -> None:
    """Write down what happened to invoices: before, after, when, and by whom."""
    await ctx.transaction.execute(WRITE_DOWN, columns(changes))
