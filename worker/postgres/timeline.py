"""Which timeline the server is on: a standby that is promoted, or a restore to a point in time, begins another one.

Asked by `database` of each new connection; compared by `log.failover`.
https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-TIMELINES
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import scalar_row

# The first eight digits of a WAL file's name. pg_control_checkpoint() says it too, to fewer roles.
TIMELINE: LiteralString = """
select case when not pg_is_in_recovery() then left(pg_walfile_name(pg_current_wal_lsn()), 8) end
"""


async def read_timeline(connection: AsyncConnection[Any]) -> str | None:
    """The timeline; None on a standby, and where the server does not say (some hosted ones have no WAL to name)."""
    try:
        async with connection.cursor(row_factory=scalar_row) as cursor:
            timeline: str | None = await (await cursor.execute(TIMELINE)).fetchone()
    except (errors.FeatureNotSupported, errors.InsufficientPrivilege, errors.UndefinedFunction):
        return None
    return timeline
