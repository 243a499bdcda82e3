"""Promise: from purchase to invoice to session each step reaches the others exactly once, and the purchase knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import psycopg
import pytest

from tests.support.played import START, Arcade, open_arcade


@pytest.fixture
async def arcade(database_url: str) -> AsyncIterator[Arcade]:
    async with open_arcade(database_url) as opened:
        yield opened


async def test_the_seeds_flow(arcade: Arcade) -> None:
    """Bought, paid, scanned, started, played to the end: each status reaches the purchase, each is written down."""
    purchase = await arcade.buy(status="pending")
    assert await arcade.says(purchase) is None
    assert await arcade.execute("select * from invoices") == []
    await arcade.execute("update purchases set payment_status = 'completed'")
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "pending"
    await arcade.execute("select activate_invoice(qr_content) from invoices")
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "ready"
    session: int = await arcade.value("select id from active_game_sessions_v2")
    for statement, status in (("start", "active"), ("pause", "paused"), ("resume", "active")):
        await arcade.execute(f"select {statement}_session(%s)", session)
        await arcade.bench.drain()
        assert await arcade.says(purchase) == status
    await arcade.pass_time(59)
    assert await arcade.says(purchase) == "active"
    await arcade.pass_time(1)
    assert await arcade.says(purchase) == "completed"
    steps = [(before, after) for _, before, after, _ in await arcade.told(session)]
    in_order = [None, "ready", "active", "paused", "active", "completed"]
    assert steps == list(pairwise(in_order))
    assert await arcade.bench.parked() == []


async def test_an_invoice_is_made_once(arcade: Arcade) -> None:
    """Whatever is said again: the payment, a replay of its event, the same in one batch."""
    purchase = await arcade.buy()
    invoice = await arcade.execute("select id, number, qr_content from invoices")
    assert len(invoice) == 1
    assert invoice[0]["qr_content"].startswith(invoice[0]["number"])
    for _ in range(2):
        await arcade.execute(
            "insert into hearken.events (topic, op, key, new, replay_of) "
            "select topic, op, key, new, id from hearken.events where replay_of is null"
        )
    await arcade.execute("update purchases set scheduled_for = now() where id = %s", purchase)
    await arcade.bench.drain()
    assert await arcade.execute("select id, number, qr_content from invoices") == invoice
    audit = await arcade.execute('select what, "by" from invoice_audit_log')
    assert [tuple(row.values()) for row in audit] == [("insert", "complete_purchase")]


async def test_invoice_numbers_stay_apart_beyond_six_digits(arcade: Arcade) -> None:
    """A number is never cut off, which would make two of one."""
    for purchase in (123_456, 1_234_567):
        await arcade.execute("select setval(pg_get_serial_sequence('purchases', 'id'), %s, false)", purchase)
        assert await arcade.buy() == purchase
    numbers = [row["number"] for row in await arcade.execute("select number from invoices order by purchase_id")]
    assert [number.rpartition("-")[2] for number in numbers] == ["123456", "1234567"]
    assert await arcade.bench.parked() == []


async def test_their_own_writes_cause_no_loop(arcade: Arcade) -> None:
    """What the handlers write makes an event only where another handler needs it, and then no more."""
    await arcade.play(await arcade.buy())
    topics = await arcade.execute("select topic, origin, count(*) from hearken.events group by 1, 2 order by 1, 2")
    assert [tuple(row.values()) for row in topics] == [
        ("public.active_game_sessions_v2", None, 2),
        ("public.invoices", "complete_purchase", 1),
        ("public.invoices", None, 1),
        ("public.purchases", None, 1),
    ]


async def test_a_reservation_keeps_its_status_until_its_time(arcade: Arcade) -> None:
    """It has its invoice at once, and may be moved."""
    purchase = await arcade.buy(at=START + timedelta(hours=2))
    assert await arcade.says(purchase) == "reserved"
    assert await arcade.value("select status from invoices") == "pending"
    await arcade.pass_time(60)
    assert await arcade.says(purchase) == "reserved"
    await arcade.pass_time(60)
    assert await arcade.says(purchase) == "pending"
    for later, status in ((5, "reserved"), (1, "pending")):
        await arcade.execute("update purchases set scheduled_for = %s", START + timedelta(hours=later))
        await arcade.bench.drain()
        assert await arcade.says(purchase) == status
    await arcade.play(purchase)
    assert await arcade.says(purchase) == "active"


async def test_a_package_without_minutes_is_dead_until_it_has_some(arcade: Arcade) -> None:
    """Others that were paid with it are not kept waiting."""
    await arcade.execute(
        "insert into purchases (minutes, payment_status) "
        "select nullif(i % 10, 0), 'completed' from generate_series(1, 30) i"
    )
    await arcade.bench.drain()
    assert await arcade.value("select count(*) from invoices") == 27
    parked = await arcade.bench.parked()
    assert [p["state"] for p in parked] == ["dead"] * 3
    assert "no minutes" in parked[0]["reason"]
    await arcade.execute("update purchases set minutes = 30 where minutes is null")
    await arcade.execute("update hearken.parked set state = 'due', due_at = now()")
    await arcade.bench.drain()
    assert await arcade.value("select count(*) from invoices") == 30
    assert await arcade.bench.parked() == []


async def test_a_refund_ends_the_session_that_runs(arcade: Arcade) -> None:
    """Session and invoice are cancelled by the handler, and that is what is written down."""
    purchase = await arcade.buy()
    session = await arcade.play(purchase)
    await arcade.execute("update purchases set payment_status = 'refunded'")
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "cancelled"
    assert (await arcade.told(session))[-1] == ("update", "active", "cancelled", "complete_purchase")
    assert await arcade.value("select status from invoices") == "cancelled"


async def test_a_refund_before_the_scan_closes_the_invoice(arcade: Arcade) -> None:
    """Its code is refused from then on."""
    purchase = await arcade.buy(at=START + timedelta(hours=1))
    await arcade.execute("update purchases set payment_status = 'refunded'")
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "cancelled"
    with pytest.raises(psycopg.Error, match="cannot be activated: it is cancelled"):
        await arcade.execute("select activate_invoice(qr_content) from invoices")
    await arcade.pass_time(60)
    assert await arcade.says(purchase) == "cancelled"


async def test_paid_and_paid_back_while_nobody_worked(arcade: Arcade) -> None:
    """What has been refunded when its payment is heard of gets no invoice."""
    await arcade.execute("insert into purchases (minutes, payment_status) values (60, 'completed')")
    await arcade.execute("update purchases set payment_status = 'refunded'")
    await arcade.bench.drain()
    assert await arcade.execute("select * from invoices") == []
    assert await arcade.value("select session_status from purchases") == "cancelled"


async def test_a_session_deleted_while_it_runs_was_cancelled(arcade: Arcade) -> None:
    """Its purchase says so, what it was is kept, and its invoice cannot be used again."""
    purchase = await arcade.buy()
    session = await arcade.play(purchase)
    await arcade.execute("delete from active_game_sessions_v2")
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "cancelled"
    assert (await arcade.told(session))[-1][:3] == ("delete", "active", None)
    assert await arcade.value("select status from invoices") == "used"
    with pytest.raises(psycopg.Error, match="cannot be activated: it is used"):
        await arcade.execute("select activate_invoice(qr_content) from invoices")


async def test_a_finished_session_that_is_deleted_stays_finished(arcade: Arcade) -> None:
    """To clear away old sessions cancels nothing."""
    purchase = await arcade.buy()
    await arcade.play(purchase)
    await arcade.pass_time(60)
    await arcade.execute("delete from active_game_sessions_v2")
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "completed"


async def test_who_did_it_is_written_down(arcade: Arcade) -> None:
    """The application's own word, else the role it came with; the schedule and the handlers by their names."""
    purchase = await arcade.buy()
    async with arcade.bench.connection.transaction():
        await arcade.execute("""select set_config('hearken.note', '{"by": "anna"}', true)""")
        await arcade.execute("select activate_invoice(number) from invoices")
    await arcade.execute("select start_session(id) from active_game_sessions_v2")
    await arcade.bench.drain()
    await arcade.pass_time(60)
    session: int = await arcade.value("select id from active_game_sessions_v2 where purchase_id = %s", purchase)
    assert [by for *_, by in await arcade.told(session)] == ["anna", "postgres", "count_down"]
    audit = await arcade.execute("""select after ->> 'status', "by" from invoice_audit_log order by id""")
    assert [tuple(row.values()) for row in audit] == [
        ("pending", "complete_purchase"),
        ("active", "anna"),
        ("used", "follow_session"),
    ]


async def test_an_outage_is_made_up_for_by_one_tick(arcade: Arcade) -> None:
    """Ten minutes without a worker are counted at once; ticks within a minute count nothing twice."""
    purchase = await arcade.buy()
    await arcade.play(purchase)
    await arcade.pass_time(10)
    for _ in range(2):
        await arcade.pass_time(0)
    assert await arcade.value("select minutes_remaining from active_game_sessions_v2") == 50
    assert await arcade.says(purchase) == "active"


@pytest.mark.slow
async def test_a_bulk_change_reaches_every_purchase(arcade: Arcade) -> None:
    """Thousands of rows by one statement: an invoice each, a line in session_events each, every purchase right."""
    many = 2500
    await arcade.execute(
        "insert into purchases (minutes, payment_status) select 5, 'completed' from generate_series(1, %s)", many
    )
    await arcade.bench.drain()
    await arcade.execute("select activate_invoice(number) from invoices")
    await arcade.execute("select start_session(id) from active_game_sessions_v2")
    await arcade.bench.drain()
    await arcade.pass_time(5)
    assert await arcade.value("select count(*) from purchases where session_status = 'completed'") == many
    assert await arcade.value("select count(*) from invoices where status = 'used'") == many
    assert await arcade.value("select count(distinct event_id) from session_events") == 3 * many
    assert await arcade.value("select count(*) from session_suspects") == 0
    assert await arcade.bench.parked() == []


async def test_a_backfill_mends_and_writes_nothing_down(arcade: Arcade) -> None:
    """The event of a row that exists says what to look at; nothing happened to it."""
    purchase = await arcade.buy()
    session = await arcade.play(purchase)
    await arcade.execute("update purchases set session_status = 'ready'")
    assert await arcade.value("select sync_status from purchase_session_overview") == "MISMATCH"
    await arcade.execute(
        "insert into hearken.events (topic, op, key, new) "
        "select 'public.active_game_sessions_v2', 'snapshot', id::text, row_to_json(s) from active_game_sessions_v2 s"
    )
    await arcade.bench.drain()
    assert await arcade.says(purchase) == "active"
    assert len(await arcade.told(session)) == 2
