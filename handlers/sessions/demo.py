"""What `hearken dev --demo` plays of sessions: bought, paid, scanned, played, over; and the purchase always knows."""

from __future__ import annotations

from typing import LiteralString

from worker import Stage, demo

BUY = (
    "INSERT INTO purchases (user_id, package_name, minutes, amount_cents, currency) "
    "VALUES (7, 'One hour', 60, 500, 'EUR');"
)
PAY = "UPDATE purchases SET payment_status = 'completed' WHERE package_name = 'One hour';"
SCAN = "SELECT activate_invoice(number) FROM invoices;"
START = "SELECT start_session(id) FROM active_game_sessions_v2;"
HOUR_LATER = (
    "UPDATE active_game_sessions_v2 SET last_countdown_at = last_countdown_at - interval '1 hour';\n"
    "SELECT countdown_active_sessions();"
)

_INVOICE: LiteralString = "select number, qr_content, status from public.invoices"
_PURCHASE: LiteralString = "select session_status from public.purchases"
_EVENTS: LiteralString = "select after ->> 'status' as status from public.session_events order by id"


@demo("sessions")
async def play(stage: Stage) -> None:
    """Play the life of a purchase, and check the result of each step."""
    await stage.delivered(await stage.run(BUY), "complete_purchase")
    await stage.delivered(await stage.run(PAY), "complete_purchase")
    invoice = await _one(stage, _INVOICE)
    stage.expect(f"invoice {invoice['number']}, with a code to scan", invoice["status"], "pending")
    await _expect_purchase(stage, "pending")
    await _follow(stage, SCAN, "ready")
    await _follow(stage, START, "active")
    stage.say("\nAn hour later, in one transaction; the schedule count_down counts every minute:")
    await _follow(stage, HOUR_LATER, "completed")
    rows = await (await stage.connection.execute(_EVENTS)).fetchall()
    stage.expect("written down in session_events", ", ".join(row["status"] for row in rows), "ready, active, completed")


async def _follow(stage: Stage, statement: str, status: str) -> None:
    """Run a statement that changes the session, wait for the handler; the purchase must have its status."""
    await stage.delivered(await stage.run(statement), "follow_session")
    await _expect_purchase(stage, status)


async def _expect_purchase(stage: Stage, status: str) -> None:
    stage.expect("the purchase's session_status", (await _one(stage, _PURCHASE))["session_status"], status)


async def _one(stage: Stage, query: LiteralString) -> dict[str, str]:
    row = await (await stage.connection.execute(query)).fetchone()
    return row or {}
