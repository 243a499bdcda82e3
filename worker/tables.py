"""What a watched table looks like in the catalog: read by `capture` before a trigger is compiled for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.errors import WatchError

# Types whose own equality says whether a value differs. Any other is compared as text: json, xml and point have no
# equality, and that of citext hides a change of case.
COMPARABLE = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "name", "uuid"}
    | {"date", "time", "timetz", "timestamp", "timestamptz", "interval", "bytea", "jsonb", "inet", "cidr", "oid"}
)
# Key types whose text depends on settings of the session that writes.
UNSTABLE_TEXT = frozenset(
    ("date", "time", "timetz", "timestamp", "timestamptz", "interval", "bytea", "float4", "float8")
)

RELATION: LiteralString = """
select c.oid::bigint as oid, c.relkind::text as kind
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
COLUMNS: LiteralString = """
select a.attname as name, t.typname as type, t.typtype = 'e' as is_enum,
       array_position(i.indkey::int2[], a.attnum) as key_position
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_index i on i.indrelid = a.attrelid and i.indisprimary
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


@dataclass(frozen=True)
class Column:
    """A column; `comparable` says whether IS DISTINCT FROM on the value itself tells a difference."""

    name: str
    type: str
    comparable: bool


@dataclass(frozen=True)
class Table:
    """A watched table. `key` names its primary key's columns, in the key's order."""

    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def topic(self) -> str:
        return f"{self.schema}.{self.name}"

    def split_key(self, key: str) -> list[str]:
        """The values of the primary key's columns, as text, from an event's key."""
        if len(self.key) == 1:
            return [key]
        return [value if isinstance(value, str) else json.dumps(value) for value in json.loads(key)]

    @property
    def key_text_is_stable(self) -> bool:
        return not any(c.type in UNSTABLE_TEXT for c in self.columns if c.name in self.key)


async def read_table(connection: AsyncConnection[Any], topic: str) -> Table:
    """The table behind a topic ("schema.table"), from the catalog.

    Raises WatchError when it does not exist, is no table, or has no primary key.
    """
    schema, _, name = topic.partition(".")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(RELATION, (schema, name))
        relation = await cursor.fetchone()
        if relation is None:
            raise WatchError(f"table {topic} does not exist: create it, or correct the topic of its handler")
        if relation["kind"] not in ("r", "p"):
            raise WatchError(f"{topic} is not a table (a view or foreign table has no triggers to capture with)")
        await cursor.execute(COLUMNS, (relation["oid"],))
        rows = await cursor.fetchall()
    table = Table(schema, name, tuple(_column(row) for row in rows), _key(rows))
    if not table.key:
        raise WatchError(
            f"table {topic} has no primary key: add one (ALTER TABLE … ADD PRIMARY KEY …), events are keyed by it"
        )
    return table


def _column(row: dict[str, Any]) -> Column:
    return Column(row["name"], row["type"], row["is_enum"] or row["type"] in COMPARABLE)


def _key(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    members = [row for row in rows if row["key_position"] is not None]
    return tuple(row["name"] for row in sorted(members, key=lambda row: int(row["key_position"])))
