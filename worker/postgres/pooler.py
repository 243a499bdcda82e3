"""Whether DATABASE_URL leads to a pooler that gives one server connection to several clients by turns.

Nothing here works there: settings, locks, LISTEN and prepared statements are the session's, and would be somebody
else's a moment later; the application's writes would carry `hearken.origin` and be taken for a handler's own. Asked by
`database` of each new connection, before it sets anything.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from worker.errors import Unsupported

BACKEND: LiteralString = "select pg_backend_pid()"
# One of them shows it when the pooler prefers the connection used last; the others, when it takes them in turn.
TRIES = 3


async def refuse_shared(connection: AsyncConnection[Any], backend: int, conninfo: str) -> None:
    """Raises Unsupported when the server process behind the connection is not its own; it was `backend` just now.

    A pooler makes up the process id that it announces when one connects (https://www.pgbouncer.org/features.html), in
    every mode: only then is a second connection made, to see whether the two are given the same process.
    """
    if backend == connection.info.backend_pid:
        return
    async with await AsyncConnection.connect(conninfo, autocommit=True) as other:
        for _ in range(TRIES):
            theirs = await _backend(other)
            if theirs == backend or await _backend(connection) != backend:
                raise Unsupported(
                    "DATABASE_URL points to a pooler in transaction mode, which shares its connections with others:"
                    " use the server's own address, or the pooler's session mode"
                )


async def _backend(connection: AsyncConnection[Any]) -> int:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(BACKEND, prepare=False)
        (pid,) = await cursor.fetchall()
    return int(pid)
