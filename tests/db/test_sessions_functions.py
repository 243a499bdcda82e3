"""Promise: the functions an application calls do what they say once, however often they are called, or say why not."""

from __future__ import annotations

import asyncio

import pytest
from psycopg import errors

from tests.support.arcade import WAYS, another, open_arcade
from tests.support.waiting import until_blocked

UNFIT = errors.ObjectNotInPrerequisiteState
SESSIONS = "select count(*) from active_game_sessions_v2"


@pytest.mark.parametrize("code", ["N-1", "QR-1"])
async def test_a_scan_makes_one_session(database_url: str, code: str) -> None:
    """By number or code: a session that is ready, with the minutes bought; a second scan returns the same."""
    async with open_arcade(database_url) as arcade:
        await arcade.invoice(await arcade.purchase(minutes=45))
        first = await arcade.call("activate_invoice", code)
        assert (first["status"], first["minutes_total"], first["minutes_remaining"]) == ("ready", 45, 45)
        assert await arcade.call("activate_invoice", code) == first
        await arcade.call("start_session", first["id"])
        assert (await arcade.call("activate_invoice", code))["id"] == first["id"]
        assert await arcade.value("select status from invoices") == "active"
        assert await arcade.value(SESSIONS) == 1


async def test_scans_at_the_same_moment_make_one_session(database_url: str) -> None:
    """Two scanners wait for each other, and get the same session."""
    async with open_arcade(database_url) as arcade, another(database_url) as other:
        await arcade.invoice(await arcade.purchase())
        async with arcade.connection.transaction():
            first = await arcade.call("activate_invoice", "N-1")
            second = asyncio.create_task(other.call("activate_invoice", "N-1"))
            await until_blocked(arcade.connection)
        assert (await second)["id"] == first["id"]
        assert await arcade.value(SESSIONS) == 1


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        ("update invoices set status = 'cancelled'", "it is cancelled"),
        ("update invoices set status = 'expired'", "it is expired"),
        ("update invoices set expires_at = '2026-03-01 12:00+00'", "it expired at 2026-03-01"),
        ("update purchases set payment_status = 'refunded'", "purchase 1 is refunded, not paid"),
        ("update purchases set scheduled_for = '2026-03-01 12:01+00'", "purchase 1 is reserved for 2026-03-01"),
        ("update purchases set minutes = 0", "the package of purchase 1 has no minutes"),
        ("update purchases set minutes = null", "the package of purchase 1 has no minutes"),
    ],
)
async def test_a_scan_that_is_refused_says_why(database_url: str, before: str, reason: str) -> None:
    """And it changes nothing."""
    async with open_arcade(database_url) as arcade:
        await arcade.connection.execute("set timezone = 'UTC'")
        await arcade.invoice(await arcade.purchase())
        await arcade.rows(before)
        was = await arcade.rows("select * from invoices")
        with pytest.raises(UNFIT, match=f"^invoice N-1 cannot be activated: {reason}"):
            await arcade.call("activate_invoice", "QR-1")
        assert await arcade.rows("select * from invoices") == was
        assert await arcade.value(SESSIONS) == 0


async def test_a_reservation_can_be_scanned_from_its_time_on(database_url: str) -> None:
    """Not a second before."""
    async with open_arcade(database_url) as arcade:
        await arcade.invoice(
            await arcade.purchase(session_status="reserved", scheduled_for="2026-03-01 12:01+00"),
        )
        await arcade.later(59)
        with pytest.raises(UNFIT, match="reserved"):
            await arcade.call("activate_invoice", "N-1")
        await arcade.later(1)
        assert (await arcade.call("activate_invoice", "N-1"))["status"] == "ready"


@pytest.mark.parametrize("end", ["completed", "expired", "cancelled"])
async def test_what_was_played_is_not_played_again(database_url: str, end: str) -> None:
    """An invoice whose session has ended is refused at once, before any handler has made it `used`, and afterwards."""
    async with open_arcade(database_url) as arcade:
        await arcade.invoice(await arcade.purchase())
        session = (await arcade.call("activate_invoice", "N-1"))["id"]
        for step in WAYS[end]:
            await arcade.rows("update active_game_sessions_v2 set status = %s", step)
        with pytest.raises(UNFIT, match=f"it was used: its session {session} is {end}"):
            await arcade.call("activate_invoice", "N-1")
        await arcade.rows("update invoices set status = 'used'")
        with pytest.raises(UNFIT, match="it is used"):
            await arcade.call("activate_invoice", "N-1")


async def test_a_deleted_session_is_not_made_anew(database_url: str) -> None:
    """Its invoice was used: playing for nothing is not to be had by deleting a row."""
    async with open_arcade(database_url) as arcade:
        await arcade.invoice(await arcade.purchase())
        await arcade.call("activate_invoice", "N-1")
        await arcade.rows("delete from active_game_sessions_v2")
        with pytest.raises(UNFIT, match="its session was deleted"):
            await arcade.call("activate_invoice", "N-1")


@pytest.mark.parametrize("function", ["start_session", "pause_session", "resume_session", "cancel_session"])
async def test_what_does_not_exist_is_named(database_url: str, function: str) -> None:
    """A session that there is not, and a code of no invoice."""
    async with open_arcade(database_url) as arcade:
        with pytest.raises(errors.NoDataFound, match="there is no session 99"):
            await arcade.call(function, 99)
        with pytest.raises(errors.NoDataFound, match="no invoice has this number or code"):
            await arcade.call("activate_invoice", "N-99")


MOVES = {
    "start_session": ({"ready"}, "active"),
    "pause_session": ({"active"}, "paused"),
    "resume_session": ({"paused"}, "active"),
    "cancel_session": ({"ready", "active", "paused"}, "cancelled"),
}


@pytest.mark.parametrize("function", MOVES)
@pytest.mark.parametrize("state", WAYS)
async def test_a_move_is_made_or_refused_by_its_states(database_url: str, function: str, state: str) -> None:
    """Done already: the session as it is. Not from here: an error that names both states, and nothing changed."""
    allowed, becomes = MOVES[function]
    async with open_arcade(database_url) as arcade:
        session = await arcade.session(state)
        before = await arcade.read(session)
        if state in allowed:
            assert (await arcade.call(function, session))["status"] == becomes
        elif state == becomes:
            assert await arcade.call(function, session) == before
        else:
            with pytest.raises(UNFIT, match=f"session {session}: status cannot go from {state} to {becomes}"):
                await arcade.call(function, session)
            assert await arcade.read(session) == before


@pytest.mark.parametrize(("function", "state"), [("start_session", "ready"), ("resume_session", "paused")])
async def test_nothing_runs_that_was_paid_back(database_url: str, function: str, state: str) -> None:
    """A session of a refunded purchase is not started or resumed; it can be cancelled."""
    async with open_arcade(database_url) as arcade:
        session = await arcade.session(state)
        await arcade.rows("update purchases set payment_status = 'refunded'")
        with pytest.raises(UNFIT, match=f"from {state} to active: its purchase 1 is refunded"):
            await arcade.call(function, session)
        assert (await arcade.call("cancel_session", session))["status"] == "cancelled"


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (None, {"by": "postgres"}),
        ('{"by": "ann", "why": "x"}', {"by": "ann", "why": "x"}),
        ('{"why": "x"}', {"by": "postgres", "why": "x"}),
        ("not json", {"by": "postgres", "note": "not json"}),
    ],
)
async def test_every_change_says_who_made_it(database_url: str, note: str | None, said: dict[str, str]) -> None:
    """The "by" of hearken.note, else the session's user; what else the application said stays."""
    async with open_arcade(database_url) as arcade:
        async with arcade.connection.transaction():
            if note is not None:
                await arcade.rows("select set_config('hearken.note', %s, true)", note)
            await arcade.session()
            assert await arcade.value("select hearken.note()") == said
        assert not await arcade.value("select current_setting('hearken.note')"), "it ends with the transaction"
