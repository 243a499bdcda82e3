"""The clock that schedules go by, replaced: `hearken.clock()` of one database says what a test wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import LiteralString

from psycopg import AsyncConnection, sql

from tests.support.things import connect

CLOCK: LiteralString = """
create or replace function hearken.clock() returns timestamptz language sql volatile as
$$ select {at}::timestamptz + (clock_timestamp() - {since}::timestamptz) $$
"""
STOPPED: LiteralString = """
create or replace function hearken.clock() returns timestamptz language sql volatile as $$ select {at}::timestamptz $$
"""


def utc(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def stop_clock(url: str, at: datetime) -> None:
    """It is that time, and stays so."""
    async with await connect(url) as connection:
        await connection.execute(sql.SQL(STOPPED).format(at=sql.Literal(at.isoformat())))


async def set_clock(url: str, at: datetime) -> None:
    """It is that time now, and goes on from there."""
    async with await connect(url) as connection:
        since = await _now(connection)
        await connection.execute(
            sql.SQL(CLOCK).format(at=sql.Literal(at.isoformat()), since=sql.Literal(since.isoformat()))
        )


async def ticks(url: str, name: str) -> list[datetime]:
    """When the ticks of that schedule that are in the log were due, in the log's order."""
    async with await connect(url) as connection:
        cursor = await connection.execute(
            "select (new->>'due')::timestamptz from hearken.events where topic = 'tick/' || %s order by id", (name,)
        )
        return [due.astimezone(UTC) for (due,) in await cursor.fetchall()]


def minutes(first: datetime, count: int) -> list[datetime]:
    """So many due times of a schedule that is due every minute."""
    return [first + n * timedelta(minutes=1) for n in range(count)]


async def _now(connection: AsyncConnection[tuple[datetime]]) -> datetime:
    (row,) = await (await connection.execute("select clock_timestamp()")).fetchall()
    return row[0]
