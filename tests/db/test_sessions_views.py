"""Promise: the overview tells which purchases disagree with their session, and the sync mends every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.arcade import Arcade, another, open_arcade
from tests.support.waiting import until_blocked
from worker import Change, Context, Park
from worker.declare.registry import Registry
from worker.testing import bench

TOPIC = "public.active_game_sessions_v2"
STATUS = "select session_status from purchases where id = %s"
OVERVIEW = "select * from purchase_session_overview where purchase_id = %s"


def follower(*, refuses: bool = False) -> tuple[Registry, object]:
    """A handler of the name that the view looks for: it writes nothing, or refuses everything."""
    declared = Registry()

    @declared.on(TOPIC, watch=("status",), transactional=True)
    async def follow_session(changes: Sequence[Change], ctx: Context) -> None:
        if refuses:
            raise Park("not this one")

    return declared, follow_session


async def test_no_session_is_no_mismatch(database_url: str) -> None:
    """Unpaid, waiting to be scanned, reserved, cancelled."""
    async with open_arcade(database_url) as arcade:
        for status in (None, "pending", "cancelled", "completed"):
            await arcade.purchase(session_status=status)
        await arcade.purchase(session_status="reserved", scheduled_for="2026-03-02")
        assert set((await arcade.sync_status()).values()) == {"NO_SESSION"}
        assert await arcade.value("select sync_purchase_session_status()") == 0


@pytest.mark.parametrize("status", ["ready", "active", "paused", "completed", "expired", "cancelled"])
async def test_a_session_that_nobody_followed_is_a_mismatch(database_url: str, status: str) -> None:
    """Until it is mended, or the purchase is changed by hand so that it agrees."""
    async with open_arcade(database_url) as arcade:
        first, second = await arcade.purchase(), await arcade.purchase()
        for purchase in (first, second):
            await arcade.session(status, purchase=purchase)
        assert await arcade.sync_status() == {first: "MISMATCH", second: "MISMATCH"}
        await arcade.rows("update purchases set session_status = %s where id = %s", status, second)
        assert await arcade.sync_status() == {first: "MISMATCH", second: "SYNCED"}
        assert await arcade.value("select sync_purchase_session_status()") == 1
        assert await arcade.sync_status() == {first: "SYNCED", second: "SYNCED"}
        assert await arcade.value(STATUS, first) == status


async def test_what_a_hand_has_changed_is_a_mismatch(database_url: str) -> None:
    """A purchase that says something else, inserted or updated; one whose session was deleted."""
    async with open_arcade(database_url) as arcade:
        changed, deleted, claimed = [await arcade.purchase() for _ in range(3)]
        sessions = [await arcade.session("active", purchase=p) for p in (changed, deleted)]
        await arcade.rows("update purchases set session_status = 'active'")
        imported = await arcade.purchase(session_status="paused")
        assert await arcade.value("select sync_purchase_session_status()") == 2
        assert [await arcade.value(STATUS, p) for p in (claimed, imported)] == ["cancelled", "cancelled"]
        await arcade.rows("update purchases set session_status = 'paused' where id = %s", changed)
        await arcade.rows("delete from active_game_sessions_v2 where id = %s", sessions[1])
        seen = await arcade.sync_status()
        assert seen == {changed: "MISMATCH", deleted: "MISMATCH", claimed: "NO_SESSION", imported: "NO_SESSION"}
        assert await arcade.value("select sync_purchase_session_status()") == 2
        assert await arcade.value("select sync_purchase_session_status()") == 0
        assert [await arcade.value(STATUS, p) for p in (changed, deleted)] == ["active", "cancelled"]
        assert "MISMATCH" not in (await arcade.sync_status()).values()


async def test_of_several_sessions_the_live_one_counts(database_url: str) -> None:
    """Else the newest; the purchase stands in the overview once."""
    async with open_arcade(database_url) as arcade:
        purchase = await arcade.purchase()
        for status in ("completed", "cancelled"):
            await arcade.session(status, purchase=purchase)
        await arcade.call("sync_purchase_session_status")
        assert await arcade.value(STATUS, purchase) == "cancelled"
        live = await arcade.session("paused", purchase=purchase)
        await arcade.call("sync_purchase_session_status")
        (row,) = await arcade.rows(OVERVIEW, purchase)
        assert (row["purchase_session_status"], row["session_id"], row["sync_status"]) == ("paused", live, "SYNCED")


async def test_what_no_trigger_has_seen_is_mended_too(database_url: str) -> None:
    """The sync looks at every purchase; and a replica's triggers do see."""
    async with open_arcade(database_url) as arcade:
        unseen, replicated = [await arcade.purchase() for _ in range(2)]
        async with arcade.connection.transaction():
            await arcade.rows("set local session_replication_role = replica")
            await arcade.rows("update purchases set session_status = 'active' where id = %s", replicated)
        await arcade.rows("alter table purchases disable trigger all")
        await arcade.rows("update purchases set session_status = 'active' where id = %s", unseen)
        assert (await arcade.sync_status())[replicated] == "MISMATCH"
        assert await arcade.value("select sync_purchase_session_status()") == 2


async def test_it_is_syncing_while_its_event_is_underway(database_url: str) -> None:
    """Until the handler has settled it; what is then still wrong is a mismatch."""
    declared, follow = follower()
    async with bench(database_url, follow, declared=declared) as stage, open_arcade(database_url) as arcade:  # type: ignore[arg-type]
        purchase = await arcade.purchase()
        session = await arcade.session(purchase=purchase)
        assert await arcade.sync_status() == {purchase: "SYNCING"}
        assert await arcade.rows("select * from purchase_session_overview where sync_status = 'MISMATCH'") == []
        await stage.drain()
        assert await arcade.sync_status() == {purchase: "MISMATCH"}
        await arcade.call("sync_purchase_session_status")
        await arcade.rows("delete from active_game_sessions_v2 where id = %s", session)
        assert await arcade.sync_status() == {purchase: "SYNCING"}


@pytest.mark.parametrize(("state", "seen"), [("due", "SYNCING"), ("held", "SYNCING"), ("dead", "MISMATCH")])
async def test_what_is_put_aside_is_underway_unless_dead(database_url: str, state: str, seen: str) -> None:
    """A dead event comes to nobody before a person has looked."""
    declared, follow = follower(refuses=True)
    async with bench(database_url, follow, declared=declared) as stage, open_arcade(database_url) as arcade:  # type: ignore[arg-type]
        purchase = await arcade.purchase()
        await arcade.session(purchase=purchase)
        await stage.drain()
        assert [row["state"] for row in await stage.parked()] == ["dead"]
        await arcade.rows("update hearken.parked set state = %s", state)
        assert await arcade.sync_status() == {purchase: seen}


async def test_the_sync_waits_for_who_is_writing(database_url: str) -> None:
    """It must not write over a purchase what it has compared before another's commit."""
    async with open_arcade(database_url) as arcade, another(database_url) as other:
        purchase = await arcade.purchase()
        session = await arcade.session("active", purchase=purchase)
        async with arcade.connection.transaction():
            await arcade.call("pause_session", session)
            await arcade.rows("update purchases set session_status = 'paused' where id = %s", purchase)
            syncing = asyncio.create_task(other.value("select sync_purchase_session_status()"))
            await until_blocked(arcade.connection)
        assert await syncing == 0
        assert await arcade.sync_status() == {purchase: "SYNCED"}


async def test_the_other_views(database_url: str) -> None:
    """A summary of each session, and the invoices that can still be scanned or are in play."""
    async with open_arcade(database_url) as arcade:
        await arcade.rows("set timezone = 'UTC'")
        purchases = [await arcade.purchase() for _ in range(4)]
        for purchase in purchases:
            await arcade.invoice(purchase, "2026-03-01 13:00+00" if purchase == 2 else None)
        await arcade.call("start_session", (await arcade.call("activate_invoice", "N-1"))["id"])
        await arcade.call("cancel_session", (await arcade.call("activate_invoice", "N-3"))["id"])
        await arcade.rows("update purchases set payment_status = 'refunded' where id = 4")
        await arcade.later(15 * 60)
        await arcade.call("countdown_active_sessions")
        summary = await arcade.rows("select * from session_summary order by session_id")
        assert [(s["invoice_number"], s["status"], s["percent_used"]) for s in summary] == [
            ("N-1", "active", 25),
            ("N-3", "cancelled", 0),
        ]
        assert await active(arcade) == [("N-1", "active", 45, None), ("N-2", "pending", 60, 2700.0)]
        await arcade.later(45 * 60)
        assert await active(arcade) == [("N-1", "active", 45, None)]


async def active(arcade: Arcade) -> list[tuple[str, str, int, float | None]]:
    """What `active_invoices` shows."""
    rows = await arcade.rows(
        "select *, extract(epoch from time_to_scan)::float as seconds from active_invoices order by 1"
    )
    return [(row["number"], row["status"], row["minutes_remaining"], row["seconds"]) for row in rows]
