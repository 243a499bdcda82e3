"""What the commands ask about purchases; `commands` prints the answers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row
from pydantic import BaseModel

OVERVIEW: LiteralString = """
select * from public.purchase_session_overview
where purchase_id = any(array(select id from public.purchases order by id desc limit %(limit)s))
order by purchase_id desc
"""
MISMATCHES: LiteralString = """
select * from public.purchase_session_overview where sync_status = 'MISMATCH' order by purchase_id desc limit %(limit)s
"""
REPORT: LiteralString = """
with sold as (
    select (created_at at time zone 'UTC')::date as day, currency, count(*) as purchases,
           count(*) filter (where session_status = 'active') as active,
           count(*) filter (where session_status = 'completed') as completed, sum(amount_cents) as revenue
    from public.purchases where created_at >= %(since)s and payment_status = 'completed'
    group by 1, 2)
select day, sum(purchases)::bigint as purchases, sum(active)::bigint as active, sum(completed)::bigint as completed,
       json_object_agg(currency, revenue order by currency) as revenue
from sold group by day order by day desc
"""
SYNC: LiteralString = "select public.sync_purchase_session_status() as mended"
QR: LiteralString = "select qr_content from public.invoices where id = %s"


class Day(BaseModel):
    """The paid purchases of one day (UTC); revenue is in minor units of each currency."""

    day: date
    purchases: int
    active: int
    completed: int
    revenue: dict[str, int]


async def read_overview(connection: AsyncConnection[Any], *, mismatch: bool, limit: int) -> list[dict[str, Any]]:
    """The newest purchases beside their sessions, or those of them that disagree."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(MISMATCHES if mismatch else OVERVIEW, {"limit": limit})
        return await cursor.fetchall()


async def read_report(connection: AsyncConnection[Any], since: datetime) -> list[Day]:
    """What was sold, day by day, the last one first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(REPORT, {"since": since})
        return [Day(**row) for row in await cursor.fetchall()]


async def sync(connection: AsyncConnection[Any]) -> int:
    """Give every purchase the status of its session; returns how many had another."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(SYNC)).fetchone()
    assert row is not None  # noqa: S101  # a select of a function has one row
    mended: int = row["mended"]
    return mended


async def read_qr_content(connection: AsyncConnection[Any], invoice_id: int) -> str | None:
    """What the invoice's code says; None when there is no such invoice."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(QR, (invoice_id,))).fetchone()
    return None if row is None else str(row["qr_content"])
