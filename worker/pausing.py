"""Letting a handler wait: consumers look at `hearken.paused` whenever they claim a cursor."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

PAUSE: LiteralString = """
insert into hearken.paused (handler, by, reason) values (%s, %s, %s)
on conflict (handler) do update set at = now(), by = excluded.by, reason = excluded.reason
"""
RESUME: LiteralString = "delete from hearken.paused where handler = %s"


async def pause(connection: AsyncConnection[Any], handler: str, *, by: str, reason: str) -> None:
    """Let the handler wait from its next batch on; what is running ends first."""
    await connection.execute(PAUSE, (handler, by, reason))


async def resume(connection: AsyncConnection[Any], handler: str) -> bool:
    """Let it go on, within seconds; False when it was not paused."""
    return (await connection.execute(RESUME, (handler,))).rowcount > 0
