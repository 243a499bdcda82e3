"""The arcade as a test plays in it: purchases are paid, scanned and played, by a clock that is set by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from handlers.sessions import audit_invoice, complete_purchase, count_down, follow_session
from worker.testing import Bench, bench

START = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
BUY = "insert into purchases (minutes, payment_status, scheduled_for) values (%s, %s, %s) returning id"
OUT_OF_STEP = "select * from purchase_session_overview where sync_status in ('MISMATCH', 'SYNCING')"
CLOCK = """
create or replace function public.sessions_clock() returns timestamptz language sql volatile as
$$ select at from public.test_clock $$
"""


@dataclass
class Arcade:
    """The tables, their handlers, and a clock that is set by hand."""

    bench: Bench

    async def execute(self, query: str, *parameters: Any) -> list[Mapping[str, Any]]:
        return list(await self.bench.execute(query, parameters))

    async def value(self, query: str, *parameters: Any) -> Any:
        """The one value of the one row."""
        (row,) = await self.execute(query, *parameters)
        (value,) = row.values()
        return value

    async def buy(self, *, minutes: int | None = 60, status: str = "completed", at: datetime | None = None) -> int:
        """A purchase, with what comes of it; returns its id."""
        number: int = await self.value(BUY, minutes, status, at)
        await self.bench.drain()
        return number

    async def play(self, purchase: int) -> int:
        """Scan the purchase's invoice and start its session; returns the session's id."""
        session: int = await self.value(
            "select (activate_invoice(number)).id from invoices where purchase_id = %s", purchase
        )
        await self.execute("select start_session(%s)", session)
        await self.bench.drain()
        return session

    async def pass_time(self, minutes: int) -> None:
        """Set the clock on, and let the schedule tick."""
        await self.execute("update test_clock set at = at + make_interval(mins => %s)", minutes)
        await self.bench.tick("count_down")
        await self.bench.drain()

    async def says(self, purchase: int) -> str | None:
        """The purchase's session_status."""
        status: str | None = await self.value("select session_status from purchases where id = %s", purchase)
        return status

    async def told(self, session: int) -> list[tuple[str, str | None, str | None, str | None]]:
        """What session_events knows of it: what, status before and after, by whom."""
        rows = await self.execute(
            """select what, before ->> 'status' as former, after ->> 'status' as present, "by"
            from session_events where session_id = %s order by id""",
            session,
        )
        return [(row["what"], row["former"], row["present"], row["by"]) for row in rows]


@asynccontextmanager
async def open_arcade(url: str) -> AsyncIterator[Arcade]:
    """All handlers of sessions at work on a database of their own. In the end nothing may be out of step."""
    async with bench(url, complete_purchase, follow_session, audit_invoice, count_down) as stage:
        under_test = Arcade(stage)
        await stage.execute("create table public.test_clock (at timestamptz)")
        await stage.execute("insert into public.test_clock values (%s)", [START])
        await stage.execute(CLOCK)
        yield under_test
        await stage.drain()
        assert await under_test.execute(OUT_OF_STEP) == []
