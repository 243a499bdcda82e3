"""An arcade: a database with the tables of sessions, written to as an application does, on a clock that a test sets.

No handlers: for tests of what holds in SQL alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row

NOON = "2026-03-01 12:00+00"
CLOCK: tuple[LiteralString, ...] = (
    "create table set_clock (at timestamptz not null)",
    "insert into set_clock values ('2026-03-01 12:00+00')",
    """create or replace function public.sessions_clock() returns timestamptz
    language sql volatile set search_path = pg_catalog, pg_temp as $$ select at from public.set_clock $$""",
)
LATER: LiteralString = "update set_clock set at = at + make_interval(secs => %s)"
INVOICE: LiteralString = """
insert into invoices (purchase_id, number, qr_content, expires_at)
values (%(purchase)s, 'N-' || %(purchase)s, 'QR-' || %(purchase)s, %(expires_at)s) returning number
"""
# The way to each status, from ready on.
WAYS: dict[str, tuple[str, ...]] = {
    "ready": (),
    "active": ("active",),
    "paused": ("active", "paused"),
    "completed": ("active", "completed"),
    "expired": ("expired",),
    "cancelled": ("cancelled",),
}


class Arcade:
    """The moves that tests make; `connection` is an application's, in autocommit."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self.connection = connection

    async def rows(self, query: str, *parameters: Any) -> list[DictRow]:
        """What a statement returns."""
        cursor = await self.connection.execute(query.encode(), parameters or None)
        return await cursor.fetchall() if cursor.description else []

    async def value(self, query: str, *parameters: Any) -> Any:
        """The one value that a statement returns."""
        (row,) = await self.rows(query, *parameters)
        (value,) = row.values()
        return value

    async def call(self, function: str, *arguments: Any) -> DictRow:
        """The row that a function returns."""
        query = sql.SQL("select * from {}({})").format(
            sql.Identifier(function), sql.SQL(", ").join(map(sql.Literal, arguments))
        )
        (row,) = await (await self.connection.execute(query)).fetchall()
        return row

    async def later(self, seconds: float) -> None:
        """Set the clock forward."""
        await self.connection.execute(LATER, (seconds,))

    async def purchase(self, **columns: Any) -> int:
        """A paid purchase of an hour, without an invoice; returns its id."""
        row = {
            "user_id": 7,
            "package_name": "An hour",
            "minutes": 60,
            "amount_cents": 1200,
            "payment_status": "completed",
            "session_status": "pending",
        } | columns
        statement = sql.SQL("insert into purchases ({}) values ({}) returning id").format(
            sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Literal, row.values()))
        )
        (made,) = await (await self.connection.execute(statement)).fetchall()
        return int(made["id"])

    async def invoice(self, purchase: int, expires_at: str | None = None) -> str:
        """An invoice for the purchase; returns its number."""
        made = await self.connection.execute(INVOICE, {"purchase": purchase, "expires_at": expires_at})
        (row,) = await made.fetchall()
        return str(row["number"])

    async def session(self, status: str = "ready", minutes: int = 60, purchase: int | None = None) -> int:
        """A session brought to a status, of a purchase that says `pending`; returns its id."""
        made = await self.value(
            "insert into active_game_sessions_v2 (purchase_id, minutes_total) values (%s, %s) returning id",
            await self.purchase() if purchase is None else purchase,
            minutes,
        )
        for step in WAYS[status]:
            await self.rows("update active_game_sessions_v2 set status = %s where id = %s", step, made)
        return int(made)

    async def read(self, session: int) -> DictRow:
        """The session's row."""
        (row,) = await self.rows("select * from active_game_sessions_v2 where id = %s", session)
        return row

    async def sync_status(self) -> dict[int, str]:
        """What the overview says of each purchase."""
        rows = await self.rows("select purchase_id, sync_status from purchase_session_overview order by 1")
        assert len({row["purchase_id"] for row in rows}) == len(rows), "a purchase is listed twice"
        return {row["purchase_id"]: row["sync_status"] for row in rows}


@asynccontextmanager
async def open_arcade(url: str) -> AsyncIterator[Arcade]:
    """An arcade in a migrated database, at noon."""
    async with await AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        for statement in CLOCK:
            await connection.execute(statement)
        yield Arcade(connection)


@asynccontextmanager
async def another(url: str) -> AsyncIterator[Arcade]:
    """One more connection to the same arcade."""
    async with await AsyncConnection.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield Arcade(connection)
