"""What the doctor looks at: the declarations, the settings, and the database through a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.rows import DictRow, dict_row

from worker.declare.registry import Registry
from worker.postgres.database import Connection
from worker.postgres.own_connection import Inspection
from worker.settings import Settings


@dataclass(frozen=True)
class Patient:
    """`loaded` is False when the handlers could not be imported: then nothing is known of what is declared."""

    registry: Registry
    settings: Settings
    inspection: Inspection
    loaded: bool = True

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """The connection, for one check at a time; statements on it end within seconds."""
        return self.inspection.connection()

    async def rows(self, query: LiteralString, parameters: Sequence[Any] = ()) -> list[DictRow]:
        """What one query returns."""
        async with self.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(query, parameters or None)
            return await cursor.fetchall()

    async def row(self, query: LiteralString, parameters: Sequence[Any] = ()) -> DictRow:
        """The one row of a query that always has one."""
        (row,) = await self.rows(query, parameters)
        return row
