"""Removing what the database keeps of a handler that the code no longer has: its cursors hold back retention."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.errors import DatabaseError
from worker.operate.audit import Person, Subject, record
from worker.postgres.locks import claim_lock

KEPT: LiteralString = """
select (select count(*) from hearken.cursors where handler = %(handler)s) as cursors,
       (select count(*) from hearken.parked where handler = %(handler)s) as parked,
       (select count(*) from hearken.parked where handler = %(handler)s and state = 'dead') as dead
"""
TRY_CLAIM: LiteralString = "select pg_try_advisory_xact_lock(%s) as claimed"
REMOVE: tuple[LiteralString, ...] = (
    "delete from hearken.cursors where handler = %s",
    "delete from hearken.parked where handler = %s",
    "delete from hearken.paused where handler = %s",
    "delete from hearken.brakes where handler = %s",
    "delete from hearken.schedules where handler = %s",
)


@dataclass(frozen=True)
class Kept:
    """How much there is of a handler: cursors, and parked events, of which some are dead."""

    cursors: int
    parked: int
    dead: int


async def look(connection: AsyncConnection[Any], handler: str) -> Kept:
    """What the database keeps of the handler."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = await (await cursor.execute(KEPT, {"handler": handler})).fetchall()
    return Kept(**row)


async def forget(connection: AsyncConnection[Any], handler: str, person: Person) -> None:
    """Remove its cursors, its parked events, its pause and its schedule. What it did, and persons did, is kept.

    Raises DatabaseError when a worker with older code still runs it.
    """
    kept = await look(connection, handler)
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        for shard in range(kept.cursors):
            (row,) = await (await cursor.execute(TRY_CLAIM, (claim_lock(handler, shard),))).fetchall()
            if not row["claimed"]:
                raise DatabaseError(
                    f"a worker is running {handler} at this moment: stop the workers that still have it"
                )
        for statement in REMOVE:
            await cursor.execute(statement, (handler,))
        await record(connection, "forget", [Subject(handler, details=asdict(kept))], person)
