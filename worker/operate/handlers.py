"""Letting a handler wait, by a person or by the brake, and letting it go on.

Consumers look at `hearken.paused` whenever they claim a cursor.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.deliver.brake import Seen
from worker.errors import Braked, Overtaken
from worker.operate.audit import Person, Subject, last, record

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


async def why_paused(connection: AsyncConnection[Any], handler: str) -> str | None:
    """Why the handler waits, in the words of who paused it; None when it does not."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(WHY, (handler,))).fetchone()
    return None if row is None else str(row["reason"])


async def pause(connection: AsyncConnection[Any], handler: str, person: Person) -> None:
    """Let the handler wait from its next batch on; what is running ends first."""
    async with connection.transaction():
        await connection.execute(PAUSE, (handler, person.by, person.reason))
        await record(connection, "pause", [Subject(handler)], person)


async def resume(connection: AsyncConnection[Any], handler: str, person: Person) -> bool:
    """Let it go on, within seconds; False when it was not paused. Raises Braked when the brake has stopped it."""
    async with connection.transaction():
        if (seen := await _one(connection, SEEN, handler)) is not None:
            raise Braked(
                f"the brake has stopped {handler}, with nothing of it done: {seen}. Set the rows right first if they"
                " are wrong, it reads them as they are when it goes on; then let this window pass with"
                f" `hearken resume {handler} --confirm`"
            )
        was_paused = (await connection.execute(RESUME, (handler,))).rowcount > 0
        if was_paused:
            await record(connection, "resume", [Subject(handler)], person)
    return was_paused


async def confirm(connection: AsyncConnection[Any], handler: str, person: Person) -> Seen:
    """Release the brake, and let pass what it saw; what came after that is judged anew.

    Raises Overtaken when it is not on.
    """
    async with connection.transaction():
        seen = await _one(connection, RELEASE, handler)
        if seen is None:
            before = await last(connection, ["confirm"], handler=handler)
            raise Overtaken(f"the brake of {handler} is not on, nothing to confirm" + (f": {before}" if before else ""))
        await connection.execute(RESUME, (handler,))
        await record(connection, "confirm", [Subject(handler, details=asdict(seen))], person)
    return seen


async def _one(connection: AsyncConnection[Any], query: LiteralString, handler: str) -> Seen | None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(query, (handler,))).fetchone()
    return None if row is None else Seen(**row)
