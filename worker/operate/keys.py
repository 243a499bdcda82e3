"""Turns keys as people write them into keys as triggers write them: for commands that are about one key."""

from __future__ import annotations

import json
from typing import Any, LiteralString

from psycopg import AsyncConnection, DataError, sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from worker.capture.catalog import Table, read_table
from worker.capture.image import key_part
from worker.declare.handler import SOURCES
from worker.errors import UsageError, WatchError
from worker.postgres.parameters import with_parameters

# Postgres itself reads each value as what its column is, and writes it down again.
READ = sql.SQL("select {texts} from jsonb_populate_record(null::{table}, %s) r")
TEXT = sql.SQL("{} as {}")
SINGLE: LiteralString = "a key of {topic} is the text of its column {columns}"
SEVERAL: LiteralString = "a key of {topic} is a JSON array of its columns {columns}, each as text"


async def read_key(connection: AsyncConnection[Any], topic: str, key: str) -> str:
    """The key as the events of the topic have it. That of a topic without a table is taken as it is.

    Raises UsageError for one that no row can have.
    """
    if topic.startswith(SOURCES):
        return key
    try:
        table = await read_table(connection, topic)
    except WatchError:
        return key  # its table is gone, its events are not
    values = _split(table, key)
    if all(column.plain for column in table.columns if column.name in table.key):
        values = await _written(connection, table, key, values)
    return values[0] if len(values) == 1 else json.dumps(values, ensure_ascii=False)


def _split(table: Table, key: str) -> list[str]:
    if len(table.key) == 1:
        return [key]
    try:
        values = json.loads(key)
    except ValueError:
        raise _malformed(table, key) from None
    if not isinstance(values, list) or len(values) != len(table.key):
        raise _malformed(table, key)
    return [value if isinstance(value, str) else json.dumps(value) for value in values]


async def _written(connection: AsyncConnection[Any], table: Table, key: str, values: list[str]) -> list[str]:
    query = READ.format(
        texts=sql.SQL(", ").join(
            TEXT.format(key_part(column, sql.Identifier("r", column.name)), sql.Identifier(column.name))
            for column in table.key_columns
        ),
        table=sql.Identifier(table.schema, table.name),
    )
    async with connection.cursor(row_factory=dict_row) as cursor:
        try:
            await cursor.execute(with_parameters(query), [Jsonb(dict(zip(table.key, values, strict=True)))])
        except DataError as error:
            raise _malformed(table, key, error.diag.message_primary) from None
        (row,) = await cursor.fetchall()
    return [row[column] for column in table.key]


def _malformed(table: Table, key: str, why: str | None = None) -> UsageError:
    form = SINGLE if len(table.key) == 1 else SEVERAL
    said = form.format(topic=table.topic, columns=", ".join(table.key))
    return UsageError(f"malformed key {key!r}{f' ({why})' if why else ''}: {said}")
