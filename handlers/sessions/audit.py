"""public.invoices → invoice_audit_log: each change of an invoice is written down once, whoever made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from handlers.sessions.batch import records
from worker import Change, Context, on

WRITE_DOWN: LiteralString = """
insert into public.invoice_audit_log (event_id, invoice_id, purchase_id, what, "by", before, after, created_at)
select e.id, e.key, (coalesce(e.new, e.old) ->> 'purchase_id')::bigint, e.op,
       coalesce(e.note ->> 'by', 'application'), e.old, e.new, e.at
from jsonb_to_recordset(%s) as e (id bigint, at timestamptz, op text, key bigint, old jsonb, new jsonb, note jsonb)
where e.op <> 'snapshot'
order by e.id
on conflict (event_id) do nothing
"""


@on("public.invoices", ops=("insert", "update", "delete"), transactional=True)
async def audit_invoice(changes: Sequence[Change], ctx: Context) -> None:
    """Write down what happened to invoices: before, after, when, and by whom."""
    await ctx.transaction.execute(WRITE_DOWN, (records(changes),))
