"""The row that an event is about, as it is now: for `explain` and `dead show`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row

from worker.capture.catalog import read_table
from worker.change import readable
from worker.declare.handler import Handler

# As JSON, as the log has it: a date that Python cannot hold is no obstacle to a person who looks.
ROW = sql.SQL("select row_to_json(r.*)::text from {table} r where {key}")


async def read_row_now(
    connection: AsyncConnection[Any], topic: str, key: str, handlers: Iterable[Handler]
) -> Mapping[str, Any] | None:
    """The row without the columns that its `handlers` exclude; None when it is gone. Raises WatchError."""
    table = await read_table(connection, topic)
    conditions = sql.SQL(" and ").join(sql.SQL("r.{} = %s").format(sql.Identifier(column)) for column in table.key)
    query = ROW.format(table=sql.Identifier(table.schema, table.name), key=conditions)
    async with connection.cursor(row_factory=scalar_row) as cursor:
        found = await (await cursor.execute(query, table.split_key(key))).fetchone()
    hidden = {column for handler in handlers for column in handler.subscription.exclude}
    return None if found is None else {name: value for name, value in readable(found).items() if name not in hidden}
