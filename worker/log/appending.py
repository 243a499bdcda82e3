"""What every transaction of ours does before it appends to the log: it takes its number first, as a writer's has.

A cursor notes which ids were given before the transaction of its move: whatever is later than that has greater ones
(see `cursors`). So nobody may have an id and take the number of its transaction only then.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection

NUMBER: LiteralString = "select pg_current_xact_id()"


async def begin_appending(connection: AsyncConnection[Any]) -> None:
    """Call it in the transaction that is about to append."""
    await connection.execute(NUMBER)
