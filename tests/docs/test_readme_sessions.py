"""The README's section of purchases and sessions is run: what an application calls, and the rights of the worker."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.cli import program
from tests.support.played import open_arcade
from tests.support.players import TELL, connect
from tests.support.workers import start_worker
from worker.sources.timetable import append_ticks

README = Path(__file__).parents[2] / "README.md"
MODULES = "handlers.sessions"


def _sql(part: str) -> str:
    """The one block of SQL that has this in it."""
    blocks = re.findall(r"^```sql\n(.*?)^```$", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = [str(block) for block in blocks if part in block]
    return block


async def test_what_an_application_calls(database_url: str) -> None:
    """The statements in the order they stand in, each with time for the worker; the last two answer as they should."""
    *calls, summary, mismatches, rest = _sql("activate_invoice").split(";")
    assert rest.strip() == ""
    async with open_arcade(database_url) as arcade:
        for call in calls:
            await arcade.execute(call)
            await arcade.bench.drain()
        ((session,), none) = await arcade.execute(summary), await arcade.execute(mismatches)
        statuses = [step[2] for step in await arcade.told(1)]
    assert (session["status"], none) == ("cancelled", [])
    assert statuses == ["ready", "active", "paused", "active", "cancelled"]


@asynccontextmanager
async def _role(url: str) -> AsyncIterator[str]:
    """The URL by which the role that the README grants connects."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop role if exists hearken_worker")
        connection.execute(_sql("create role").encode())
        connection.execute("alter role hearken_worker password 'worker'")
        try:
            yield make_conninfo(url, user="hearken_worker", password="worker")
        finally:
            connection.execute("drop owned by hearken_worker")
            connection.execute("drop role hearken_worker")


async def test_the_least_rights_are_enough_for_sessions(database_url: str) -> None:
    """With them a worker makes the invoice, follows the session, counts it down, and ends what is paid back."""
    given = {"HEARKEN_HANDLERS": "handlers", "STRIPE_SECRET_KEY": "sk_test_unused"}
    assert (await program(database_url, "migrate", **given)).code == 0
    async with (
        _role(database_url) as url,
        start_worker(url, [MODULES]) as worker,
        await connect(database_url) as application,
        await connect(database_url) as listening,
    ):
        await worker.said("working")
        await application.execute(TELL)
        await listening.execute("listen told")

        async def until(query: str, wanted: object) -> None:
            while [row["found"] for row in await (await application.execute(query.encode())).fetchall()] != [wanted]:
                async for _ in listening.notifies(timeout=0.5, stop_after=1):
                    pass

        bought = "insert into purchases (minutes, payment_status) values (60, 'completed'), (60, 'completed')"
        await application.execute(bought.encode())
        await until("select count(*) as found from invoices", 2)
        await application.execute(
            "select start_session((activate_invoice(number)).id) from invoices order by purchase_id"
        )
        await until("select count(*) as found from purchases where session_status = 'active'", 2)
        await application.execute("update purchases set payment_status = 'refunded' where id = 2")
        await until("select session_status as found from purchases where id = 2", "cancelled")
        await application.execute("update active_game_sessions_v2 set last_countdown_at = now() - interval '1 hour'")
        async with application.transaction():
            await append_ticks(application, "count_down", [datetime.now(UTC)])
        await until("select session_status as found from purchases where id = 1", "completed")
        dead = await application.execute("select from hearken.parked where state = 'dead'")
        assert await dead.fetchall() == []
        await until("select count(*) as found from invoice_audit_log", 6)
