"""Promise: what nobody came for expires, once its time is up, and nothing that somebody came for does."""

from __future__ import annotations

import pytest

from tests.support.arcade import Arcade, another, open_arcade

AT_ONE = "2026-03-01 13:00+00"
HOUR, DAY = 3600, 86_400


async def expire(arcade: Arcade) -> tuple[int, int]:
    """Expire once: invoices never scanned, sessions never started."""
    row = await arcade.call("expire_overdue_invoices")
    return row["invoices"], row["sessions"]


async def test_an_invoice_that_is_not_scanned_expires(database_url: str) -> None:
    """At its time and not before, once, with its purchase; one without a time never does."""
    async with open_arcade(database_url) as arcade:
        overdue, never = await arcade.purchase(), await arcade.purchase()
        await arcade.invoice(overdue, AT_ONE)
        await arcade.invoice(never)
        await arcade.later(HOUR - 1)
        assert await expire(arcade) == (0, 0)
        await arcade.later(1)
        assert await expire(arcade) == (1, 0)
        assert await expire(arcade) == (0, 0)
        rows = await arcade.rows(
            "select status, session_status from invoices i join purchases p on p.id = i.purchase_id"
        )
        assert sorted(tuple(row.values()) for row in rows) == [("expired", "expired"), ("pending", "pending")]


@pytest.mark.parametrize("state", ["active", "paused"])
async def test_what_is_played_does_not_expire(database_url: str, state: str) -> None:
    """Time that was begun belongs to the player, however long the pause."""
    async with open_arcade(database_url) as arcade:
        purchase = await arcade.purchase()
        await arcade.invoice(purchase, AT_ONE)
        session = await arcade.session(state, purchase=purchase)
        await arcade.rows("update invoices set status = 'active'")
        await arcade.later(30 * DAY)
        assert await expire(arcade) == (0, 0)
        assert (await arcade.read(session))["status"] == state


async def test_a_session_that_is_not_started_expires(database_url: str) -> None:
    """When its invoice has, and a day has passed since the scan: who scans in the last minute can still play."""
    async with open_arcade(database_url) as arcade:
        await arcade.invoice(await arcade.purchase(), AT_ONE)
        session = (await arcade.call("activate_invoice", "N-1"))["id"]
        await arcade.later(DAY - 1)
        assert await expire(arcade) == (0, 0)
        await arcade.later(1)
        assert await expire(arcade) == (0, 1)
        assert (await arcade.read(session))["status"] == "expired"
        assert await arcade.value("select status from invoices") == "expired"
        assert await expire(arcade) == (0, 0)


async def test_it_waits_for_nobody(database_url: str) -> None:
    """Who holds a purchase may be waiting for what the same transaction has counted: that comes a minute later."""
    async with open_arcade(database_url) as arcade, another(database_url) as other:
        await arcade.invoice(await arcade.purchase(), AT_ONE)
        reserved = await arcade.purchase(session_status="reserved", scheduled_for=AT_ONE)
        await arcade.later(HOUR)
        await other.rows("set lock_timeout = '1s'")
        async with arcade.connection.transaction():
            await arcade.rows("select from purchases for no key update")
            assert await expire(other) == (0, 0)
            assert (await other.call("countdown_active_sessions"))["due"] == 0
        assert await expire(other) == (1, 0)
        assert (await other.call("countdown_active_sessions"))["due"] == 1
        assert await arcade.value("select session_status from purchases where id = %s", reserved) == "pending"


async def test_invoices_to_scan_are_those_that_can_be(database_url: str) -> None:
    """Not one of a reservation before its time, nor one whose session is over."""
    async with open_arcade(database_url) as arcade:
        await arcade.invoice(await arcade.purchase(session_status="reserved", scheduled_for=AT_ONE))
        over = await arcade.purchase()
        await arcade.invoice(over)
        await arcade.session("completed", purchase=over)
        assert await arcade.rows("select number from active_invoices") == []
        await arcade.later(HOUR)
        assert await arcade.rows("select number from active_invoices") == [{"number": "N-1"}]
