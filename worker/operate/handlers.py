"""What a person does to a handler as a whole: pause, resume, confirm what the brake has stopped, forget.

Consumers look at `hearken.paused` whenever they claim a cursor.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.deliver.stretch import Seen
from worker.errors import Braked, DatabaseError, Overtaken
from worker.log.cursors import keep_former
from worker.operate.audit import ActionSubject, Actor, last, record_action
from worker.postgres.locks import claim_lock

PAUSE: LiteralString = """
insert into hearken.paused (handler, by, reason) values (%s, %s, %s)
on conflict (handler) do update set at = now(), by = excluded.by, reason = excluded.reason
"""
WHY: LiteralString = "select reason from hearken.paused where handler = %s"
RESUME: LiteralString = "delete from hearken.paused where handler = %s"
SEEN: LiteralString = """
select deleted, archived, truncated, most, of_rows from hearken.brakes where handler = %s and released_at is null
"""
RELEASE: LiteralString = """
update hearken.brakes set released_at = now(), passed = target where handler = %s and released_at is null
returning deleted, archived, truncated, most, of_rows
"""
KEPT: LiteralString = """
select (select count(*) from hearken.cursors where handler = %(handler)s) as cursors,
       (select count(*) from hearken.parked where handler = %(handler)s) as parked,
       (select count(*) from hearken.parked where handler = %(handler)s and state = 'dead') as dead
"""
TRY_CLAIM: LiteralString = "select pg_try_advisory_xact_lock(%s) as claimed"
REMOVE: tuple[LiteralString, ...] = (
    "delete from hearken.declarations where handler = %s",
    "delete from hearken.cursors where handler = %s",
    "delete from hearken.parked where handler = %s",
    "delete from hearken.paused where handler = %s",
    "delete from hearken.brakes where handler = %s",
    "delete from hearken.moves where handler = %s",
    "delete from hearken.schedules where handler = %s",
)


@dataclass(frozen=True)
class Kept:
    """How much there is of a handler: cursors, and parked events, of which some are dead."""

    cursors: int
    parked: int
    dead: int


async def why_paused(connection: AsyncConnection[Any], handler: str) -> str | None:
    """Why the handler is paused, in the words of who paused it; None when it is not."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(WHY, (handler,))).fetchone()
    return None if row is None else str(row["reason"])


async def pause(connection: AsyncConnection[Any], handler: str, actor: Actor) -> None:
    """Pause the handler from its next batch on; a running batch ends first."""
    async with connection.transaction():
        await connection.execute(PAUSE, (handler, actor.by, actor.reason))
        await record_action(connection, "pause", [ActionSubject(handler)], actor)


async def resume(connection: AsyncConnection[Any], handler: str, actor: Actor) -> bool:
    """Resume it, within seconds; False when it was not paused. Raises Braked when the brake has stopped it."""
    async with connection.transaction():
        if (seen := await _one(connection, SEEN, handler)) is not None:
            raise Braked(
                f"the brake has stopped {handler} before it did anything: {seen}. Fix the rows first if they"
                " are wrong, it reads them as they are when it resumes; then let this window pass with"
                f" `hearken resume {handler} --confirm`"
            )
        was_paused = (await connection.execute(RESUME, (handler,))).rowcount > 0
        if was_paused:
            await record_action(connection, "resume", [ActionSubject(handler)], actor)
    return was_paused


async def confirm_brake(connection: AsyncConnection[Any], handler: str, actor: Actor) -> Seen:
    """Release the brake, and let through what it saw; later events are judged again.

    Raises Overtaken when it is not on.
    """
    async with connection.transaction():
        seen = await _one(connection, RELEASE, handler)
        if seen is None:
            before = await last(connection, ["confirm"], handler=handler)
            raise Overtaken(f"the brake of {handler} is not on, nothing to confirm" + (f": {before}" if before else ""))
        await connection.execute(RESUME, (handler,))
        await record_action(connection, "confirm", [ActionSubject(handler, details=asdict(seen))], actor)
    return seen


async def count_kept(connection: AsyncConnection[Any], handler: str) -> Kept:
    """What the database keeps of the handler."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        (row,) = await (await cursor.execute(KEPT, {"handler": handler})).fetchall()
    return Kept(**row)


async def forget(connection: AsyncConnection[Any], handler: str, actor: Actor) -> None:
    """Remove its cursors, its parked events, its pause and its schedule. What it did, and persons did, is kept.

    Raises DatabaseError when a worker with older code still runs it.
    """
    kept = await count_kept(connection, handler)
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        for shard in range(kept.cursors):
            (row,) = await (await cursor.execute(TRY_CLAIM, (claim_lock(handler, shard),))).fetchall()
            if not row["claimed"]:
                raise DatabaseError(
                    f"a worker is running {handler} at this moment: stop the workers that still have it"
                )
        await keep_former(connection, handler)
        for statement in REMOVE:
            await cursor.execute(statement, (handler,))
        await record_action(connection, "forget", [ActionSubject(handler, details=asdict(kept))], actor)


async def _one(connection: AsyncConnection[Any], query: LiteralString, handler: str) -> Seen | None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(query, (handler,))).fetchone()
    return None if row is None else Seen(**row)
