"""Promise: the minute's tick expires what is overdue; purchases of before get the invoice that they lack."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.played import Arcade, open_arcade

DAY = 24 * 60
AUDIT = """select after ->> 'status' as status, "by" from invoice_audit_log where invoice_id = %s order by id"""
SNAPSHOTS = """
insert into hearken.events (topic, op, key, new)
select 'public.purchases', 'snapshot', id::text, row_to_json(p) from purchases p
"""


@pytest.fixture
async def arcade(empty_database_url: str) -> AsyncIterator[Arcade]:
    async with open_arcade(empty_database_url) as opened:
        yield opened


async def test_an_overdue_invoice_leaves_its_trace(arcade: Arcade) -> None:
    """After its 60 days: expired with an audit row by the schedule, its purchase too, and a scan says so."""
    purchase = await arcade.buy()
    await arcade.pass_time(60 * DAY - 1)
    assert await arcade.says(purchase) == "pending"
    await arcade.pass_time(1)
    assert await arcade.says(purchase) == "expired"
    (invoice,) = await arcade.execute("select id, status from invoices")
    told = [tuple(row.values()) for row in await arcade.execute(AUDIT, invoice["id"])]
    assert told == [("pending", "complete_purchase"), ("expired", "count_down")]
    assert await arcade.execute("select from active_invoices") == []


async def test_a_session_nobody_started_reaches_its_purchase(arcade: Arcade) -> None:
    """Scanned and left: the session expires, and purchase, session_events and audit say so, not `used`."""
    purchase = await arcade.buy()
    await arcade.execute("select activate_invoice(number) from invoices")
    await arcade.bench.drain()
    await arcade.pass_time(60 * DAY)
    assert await arcade.says(purchase) == "expired"
    session = await arcade.value("select id from active_game_sessions_v2")
    assert (await arcade.told(session))[-1] == ("update", "ready", "expired", "count_down")
    assert await arcade.value("select status from invoices") == "expired"


@pytest.mark.parametrize("said", ["active", "completed", "expired", "cancelled"])
async def test_what_was_played_before_gets_no_invoice(arcade: Arcade, said: str) -> None:
    """A backfill of adopted purchases: who has played cannot scan a new code and play again."""
    await arcade.execute(
        "insert into purchases (minutes, payment_status, session_status) values (60, 'completed', %s)", said
    )
    waits = await arcade.value("insert into purchases (minutes, payment_status) values (60, 'completed') returning id")
    await arcade.execute("insert into purchases (payment_status, session_status) values ('completed', %s)", said)
    await arcade.execute(SNAPSHOTS)
    await arcade.bench.drain()
    assert await arcade.execute("select purchase_id from invoices") == [{"purchase_id": waits}]
    assert await arcade.bench.parked() == []
    await arcade.execute("select sync_purchase_session_status()")
