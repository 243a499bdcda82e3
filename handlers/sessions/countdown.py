"""Every minute: active sessions are counted down, reservations that are due are opened, what is overdue expires.

How much is due is asked of the clock by the SQL function, not of the tick: a minute that was missed is made
up for by the next, and a second tick within a minute finds nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from handlers.sessions.batch import say_who
from worker import Change, Context, every

COUNT_DOWN: LiteralString = "select counted, ended, due from public.countdown_active_sessions()"
EXPIRE: LiteralString = "select invoices, sessions from public.expire_overdue_invoices()"


@every("* * * * *", transactional=True, catch_up="one")
async def count_down(_changes: Sequence[Change], ctx: Context) -> None:
    """Count minutes down, end the sessions whose time is up, open the reservations that are due, expire the overdue."""
    await say_who(ctx, "time")
    row = await (await ctx.transaction.execute(COUNT_DOWN)).fetchone()
    if row is not None and any(row.values()):
        ctx.log.info("counted down", **row)
    row = await (await ctx.transaction.execute(EXPIRE)).fetchone()
    if row is not None and any(row.values()):
        ctx.log.info("expired", **row)
