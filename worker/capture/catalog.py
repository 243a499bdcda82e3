"""What a watched table looks like in the catalog: read by `install` before a trigger is compiled for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.errors import WatchError

# Types whose text is the same in every session; that of others depends on what it has set. JSON has times in ISO 8601
# always. https://www.postgresql.org/docs/release/9.4.0/
PLAIN = frozenset(
    {"bool", "int2", "int4", "int8", "numeric", "text", "varchar", "bpchar", "name", "uuid", "json", "jsonb"}
    | {"inet", "cidr", "oid"}
)
TIMES = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})

# Types whose values cannot grow without bound.
BOUNDED = frozenset(
    {"bool", "int2", "int4", "int8", "float4", "float8", "numeric", "money", "name", "uuid", "oid", "inet", "cidr"}
    | {"macaddr", "macaddr8", "interval", "point", "lseg", "line", "box", "circle", "char", "pg_lsn", *TIMES}
)

RELATION: LiteralString = """
select c.oid::bigint as oid, c.relkind::text as kind,
       (select p.inhparent::regclass::text from pg_catalog.pg_inherits p where p.inhrelid = c.oid limit 1) as parent
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
# What a column is made of, through domains, arrays and composites: `own` when a type that somebody has made, with casts
# of its owner's, is among it.
COLUMNS: LiteralString = """
select a.attname as name, base.typname as type, tn.nspname || '.' || t.typname as declared,
       base.typtype = 'e' as is_enum,
       a.attgenerated = 'v' as virtual, coalesce(l.collisdeterministic, true) as exact, k.position as key_position,
       parts.own, base.typelem <> 0 and base.typlen = -1 as is_array
from pg_catalog.pg_attribute a
join pg_catalog.pg_type t on t.oid = a.atttypid
join pg_catalog.pg_namespace tn on tn.oid = t.typnamespace
cross join lateral (
    with recursive part (type) as (
        select a.atttypid
        union
        select p.next from part join pg_catalog.pg_type t on t.oid = part.type cross join lateral (
            select t.typbasetype as next where t.typtype = 'd'
            union all select t.typelem where t.typelem <> 0 and t.typlen = -1
            union all select f.atttypid from pg_catalog.pg_attribute f
            where t.typtype = 'c' and f.attrelid = t.typrelid and f.attnum > 0 and not f.attisdropped) p)
    select bool_or(t.oid >= 16384 and t.typtype not in ('d', 'c') and (t.typelem = 0 or t.typlen <> -1)) as own
    from part join pg_catalog.pg_type t on t.oid = part.type) parts
cross join lateral (
    with recursive domain (type) as (
        select a.atttypid
        union
        select t.typbasetype from domain join pg_catalog.pg_type t on t.oid = domain.type where t.typtype = 'd')
    select t.* from domain join pg_catalog.pg_type t on t.oid = domain.type where t.typtype <> 'd') base
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

    type      its type's name, of a domain that of what it is a domain over
    declared  its type, with its schema
    plain     its text is the same in every session
    own       a type that somebody has made is part of it, so that its JSON could call a cast of theirs
    is_array  of whatever
    virtual   computed when read: a trigger does not see it
    """

    name: str
    type: str
    declared: str = ""
    plain: bool = True
    own: bool = False
    is_array: bool = False
    virtual: bool = False

    @property
    def bounded(self) -> bool:
        """Whether its values are always small."""
        return self.type in BOUNDED


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
    def key_columns(self) -> list[Column]:
        """Those of the primary key, in the key's order."""
        known = {column.name: column for column in self.columns}
        return [known[name] for name in self.key]

    @property
    def shape(self) -> str:
        """Its columns and their types as a hash: what `hearken.shape` finds in the catalog."""
        columns = ",".join(f"{c.name} {c.declared}" for c in self.columns)
        return hashlib.md5(columns.encode(), usedforsecurity=False).hexdigest()

    @property
    def text_is_stable(self) -> bool:
        """Whether keys and rows are written the same in every session."""
        return all(c.plain or (c.type in TIMES and c.name not in self.key) for c in self.columns)


async def read_table(connection: AsyncConnection[Any], topic: str) -> Table:
    """The table behind a topic ("schema.table"), from the catalog.

    Raises WatchError when it does not exist, is no table, is a part of another, or has no primary key to tell rows by.
    """
    schema, _, name = topic.partition(".")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(RELATION, (schema, name))
        relation = await cursor.fetchone()
        if relation is None:
            raise WatchError(f"table {topic} does not exist: create it, or correct the topic of its handler")
        if relation["kind"] not in ("r", "p"):
            raise WatchError(f"{topic} is not a table (a view or foreign table has no triggers to capture with)")
        if relation["parent"] is not None:
            raise WatchError(
                f"{topic} is a partition or child of {relation['parent']}: what is written through that table fires no"
                f" trigger here. Watch {relation['parent']}"
            )
        await cursor.execute(COLUMNS, (relation["oid"],))
        rows = await cursor.fetchall()
    table = Table(schema, name, tuple(_column(row) for row in rows), _key(rows))
    if not table.key:
        raise WatchError(
            f"table {topic} has no primary key: add one (ALTER TABLE … ADD PRIMARY KEY …), events are keyed by it"
        )
    if folded := [row["name"] for row in rows if row["key_position"] is not None and not row["exact"]]:
        raise WatchError(
            f"the primary key of {topic} has a nondeterministic collation ({', '.join(folded)}): one key would have"
            " several spellings, and an event has one. Give the column a deterministic collation"
        )
    return table


def _column(row: dict[str, Any]) -> Column:
    return Column(
        name=row["name"],
        type=row["type"],
        declared=row["declared"],
        plain=row["is_enum"] or row["type"] in PLAIN,
        own=row["own"],
        is_array=row["is_array"],
        virtual=row["virtual"],
    )


def _key(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    members = [row for row in rows if row["key_position"] is not None]
    return tuple(row["name"] for row in sorted(members, key=lambda row: int(row["key_position"])))
