"""Promise: a status is only followed by those that may follow it, whoever writes it, and what is written down stays."""

from __future__ import annotations

from itertools import product

import pytest
from psycopg import errors

from tests.support.arcade import WAYS, Arcade, open_arcade

ALLOWED = {
    "ready": {"active", "expired", "cancelled"},
    "active": {"paused", "completed", "expired", "cancelled"},
    "paused": {"active", "completed", "expired", "cancelled"},
}
INVOICES = {"pending": {"active", "expired", "cancelled"}, "active": {"used", "expired", "cancelled"}}
INVOICE_WAYS = {
    "pending": (),
    "active": ("active",),
    "used": ("active", "used"),
    "expired": ("expired",),
    "cancelled": ("cancelled",),
}
PAYMENTS = {
    "pending": {"completed", "failed", "cancelled"},
    "failed": {"pending", "completed", "cancelled"},
    "completed": {"refunded"},
}


async def outcome(arcade: Arcade, update: str, *parameters: object) -> str | None:
    """What the update is refused with; None when it is made."""
    try:
        await arcade.rows(update, *parameters)
    except errors.CheckViolation as error:
        return str(error)
    return None


async def test_a_session_takes_no_other_way(database_url: str) -> None:
    """Each pair of states, by plain UPDATE: made if allowed, else refused with both of them named."""
    async with open_arcade(database_url) as arcade:
        for was, becomes in product(WAYS, WAYS):
            session = await arcade.session(was)
            refused = await outcome(
                arcade, "update active_game_sessions_v2 set status = %s where id = %s", becomes, session
            )
            if was == becomes or becomes in ALLOWED.get(was, ()):
                assert refused is None, (was, becomes)
            else:
                assert refused is not None, (was, becomes)
                assert refused.startswith(f"session {session}: status cannot go from {was} to {becomes}\n")


async def test_an_invoice_takes_no_other_way(database_url: str) -> None:
    """Each pair of states of an invoice."""
    async with open_arcade(database_url) as arcade:
        for was, becomes in product(INVOICE_WAYS, INVOICE_WAYS):
            number = await arcade.invoice(await arcade.purchase())
            for step in INVOICE_WAYS[was]:
                await arcade.rows("update invoices set status = %s where number = %s", step, number)
            refused = await outcome(arcade, "update invoices set status = %s where number = %s", becomes, number)
            assert (refused is None) == (was == becomes or becomes in INVOICES.get(was, ())), (was, becomes)
            assert refused is None or f"status cannot go from {was} to {becomes}" in refused


async def test_a_payment_takes_no_other_way(database_url: str) -> None:
    """Each pair of states of a payment; what was imported may begin anywhere."""
    states = ("pending", "completed", "failed", "refunded", "cancelled")
    async with open_arcade(database_url) as arcade:
        for was, becomes in product(states, states):
            purchase = await arcade.purchase(payment_status=was)
            refused = await outcome(arcade, "update purchases set payment_status = %s where id = %s", becomes, purchase)
            assert (refused is None) == (was == becomes or becomes in PAYMENTS.get(was, ())), (was, becomes)
            assert refused is None or f"payment_status cannot go from {was} to {becomes}" in refused


@pytest.mark.parametrize(
    "statement",
    [
        "insert into active_game_sessions_v2 (purchase_id, status, minutes_total) values (2, 'active', 60)",
        "insert into active_game_sessions_v2 (purchase_id, status, minutes_total) values (2, 'sleeping', 60)",
        "insert into invoices (purchase_id, number, qr_content, status) values (1, 'a', 'a', 'used')",
        "insert into active_game_sessions_v2 (purchase_id, minutes_total, minutes_used) values (2, 60, 61)",
        "insert into active_game_sessions_v2 (purchase_id, minutes_total) values (2, -1)",
        "update active_game_sessions_v2 set id = 99",
        "update active_game_sessions_v2 set purchase_id = 2",
        "update purchases set payment_status = 'lost'",
        "update purchases set session_status = 'lost'",
        "update purchases set session_status = 'reserved', scheduled_for = null",
        "update purchases set amount_cents = -1",
        "update purchases set currency = 'euros'",
        "update purchases set minutes = -1",
    ],
)
async def test_what_makes_no_sense_is_refused(database_url: str, statement: str) -> None:
    """States that do not exist or cannot be the first, minutes and money below nothing, a session moved elsewhere."""
    async with open_arcade(database_url) as arcade:
        await arcade.session(purchase=await arcade.purchase())
        await arcade.purchase()
        with pytest.raises(errors.CheckViolation):
            await arcade.rows(statement)


@pytest.mark.parametrize("second", ["ready", "active", "paused"])
async def test_a_purchase_has_one_live_session(database_url: str, second: str) -> None:
    """Another is refused while one lives, and possible when it has ended."""
    async with open_arcade(database_url) as arcade:
        purchase = await arcade.purchase()
        first = await arcade.session(second, purchase=purchase)
        with pytest.raises(errors.UniqueViolation):
            await arcade.session(purchase=purchase)
        await arcade.call("cancel_session", first)
        await arcade.session(purchase=purchase)


@pytest.mark.parametrize("table", ["session_events", "invoice_audit_log"])
@pytest.mark.parametrize("statement", ["update {} set what = 'x'", "delete from {}", "truncate {}"])
async def test_what_is_written_down_stays(database_url: str, table: str, statement: str) -> None:
    """No row of either record can be changed, deleted or truncated; rows can be added."""
    column = {"session_events": "session_id", "invoice_audit_log": "invoice_id"}[table]
    async with open_arcade(database_url) as arcade:
        await arcade.rows(f"insert into {table} ({column}, what) values (1, 'insert')")
        with pytest.raises(errors.InsufficientPrivilege, match="append-only"):
            await arcade.rows(statement.format(table))
        assert await arcade.value(f"select what from {table}") == "insert"


@pytest.mark.parametrize("table", ["purchases", "invoices", "active_game_sessions_v2"])
async def test_nothing_is_truncated(database_url: str, table: str) -> None:
    """TRUNCATE would leave no trace of the single rows."""
    async with open_arcade(database_url) as arcade:
        with pytest.raises(errors.InsufficientPrivilege, match="Use DELETE"):
            await arcade.rows(f"truncate {table} cascade")
