"""What a watched table looks like in the catalog: read by `install` before a trigger is compiled for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.errors import WatchError

# Types whose own equality says whether a value differs. Any other is compared as text: json, xml and point have no
# equality, that of citext hides a change of case, that of interval a month that became 30 days; and the operators of
# a type from an extension may stand anywhere.
COMPARABLE = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "name", "uuid"}
    | {"date", "time", "timetz", "timestamp", "timestamptz", "bytea", "jsonb", "inet", "cidr", "oid"}
)
# Types whose text is the same in every session; that of others depends on what it has set. JSON has times in ISO 8601
# always. https://www.postgresql.org/docs/release/9.4.0/
PLAIN = frozenset(
    {"bool", "int2", "int4", "int8", "numeric", "text", "varchar", "bpchar", "name", "uuid", "json", "jsonb"}
    | {"inet", "cidr", "oid"}
)
TIMES = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})

RELATION: LiteralString = """
select c.oid::bigint as oid, c.relkind::text as kind
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
COLUMNS: LiteralString = """
select a.attname as name, t.typname as type, t.typtype = 'e' as is_enum, a.attgenerated = 'v' as virtual,
       coalesce(l.collisdeterministic, true) as exact, k.position as key_position
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_collation l on l.oid = a.attcollation
left join pg_catalog.pg_index i on i.indrelid = a.attrelid and i.indisprimary
left join lateral unnest(i.indkey::int2[]) with ordinality k (number, position)
          on k.number = a.attnum and k.position <= i.indnkeyatts  -- beyond are INCLUDE's
where a.attrelid = %s::oid and a.attnum > 0 and not a.attisdropped
order by a.attnum
"""


@dataclass(frozen=True)
class Column:
    """A column of a watched table.

    comparable  IS DISTINCT FROM on the value itself tells a difference
    plain       its text is the same in every session
    virtual     computed when read: a trigger does not see it
    """

    name: str
    type: str
    comparable: bool
    plain: bool = True
    virtual: bool = False


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
        values: list[str] = json.loads(key)
        return values

    @property
    def text_is_stable(self) -> bool:
        """Whether keys and rows are written the same in every session."""
        return all(c.plain or (c.type in TIMES and c.name not in self.key) for c in self.columns)


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
    return Column(
        name=row["name"],
        type=row["type"],
        comparable=row["exact"] and (row["is_enum"] or row["type"] in COMPARABLE),
        plain=row["is_enum"] or row["type"] in PLAIN,
        virtual=row["virtual"],
    )


def _key(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    members = [row for row in rows if row["key_position"] is not None]
    return tuple(row["name"] for row in sorted(members, key=lambda row: int(row["key_position"])))
