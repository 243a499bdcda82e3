"""What a database consists of, as text: the same for the same schema, so that two can be compared line by line.

Asked of the catalog. The partitions of single days are left out: their names are dates.
"""

from __future__ import annotations

from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.rows import DictRow

# Of extensions and of Postgres itself nothing is shown.
RELATIONS: LiteralString = """
select c.oid, format('%I.%I', n.nspname, c.relname) as name,
       case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
                      when 'S' then 'sequence' else c.relkind::text end as kind,
       pg_get_partkeydef(c.oid) as partitioned,
       (select inhparent::regclass::text from pg_inherits where inhrelid = c.oid) as parent,
       pg_get_expr(c.relpartbound, c.oid) as bound,
       array_to_string(c.reloptions, ', ') as options,
       case when c.relkind in ('r', 'p') then
           case c.relreplident when 'd' then null when 'f' then 'full' else c.relreplident::text end
       end as "replica identity",
       obj_description(c.oid, 'pg_class') as comment
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname in ('hearken', 'public') and c.relkind not in ('i', 'I') and c.relname !~ '^events_[0-9]{8}$'
order by 2
"""
COLUMNS: LiteralString = """
select format('%%I %%s', a.attname, format_type(a.atttypid, a.atttypmod))
       || case when a.attcollation <> t.typcollation then ' collate ' || a.attcollation::regcollation else '' end
       || case when a.attnotnull then ' not null' else '' end
       || case a.attidentity when 'a' then ' generated always as identity' when 'd' then ' generated as identity'
                             else '' end
       || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as line,
       col_description(a.attrelid, a.attnum) as comment
from pg_attribute a join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""
CONSTRAINTS: LiteralString = """
select format('constraint %%I %%s', conname, pg_get_constraintdef(oid)) as line
from pg_constraint where conrelid = %(oid)s order by conname
"""
INDEXES: LiteralString = """
select pg_get_indexdef(i.indexrelid) as line from pg_index i
where i.indrelid = %(oid)s and not exists (select from pg_constraint where conindid = i.indexrelid) order by 1
"""
TRIGGERS: LiteralString = """
select pg_get_triggerdef(oid) as line, tgenabled::text as enabled, obj_description(oid, 'pg_trigger') as comment
from pg_trigger where tgrelid = %(oid)s and not tgisinternal order by tgname
"""
SEQUENCE: LiteralString = """
select format('%%s increment %%s minimum %%s maximum %%s start %%s cache %%s%%s', format_type(seqtypid, null),
              seqincrement, seqmin, seqmax, seqstart, seqcache, case when seqcycle then ' cycle' else '' end) as line
from pg_sequence where seqrelid = %(oid)s
"""
FUNCTIONS: LiteralString = """
select pg_get_functiondef(p.oid) as line, obj_description(p.oid, 'pg_proc') as comment
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname in ('hearken', 'public') order by p.oid::regprocedure::text
"""


async def describe(connection: AsyncConnection[DictRow]) -> str:
    """The schemas `hearken` and `public` as text, ending with a newline."""
    parts = [await _relation(connection, row) for row in await _rows(connection, RELATIONS)]
    parts += [_function(row) for row in await _rows(connection, FUNCTIONS)]
    lines = (line.rstrip() for line in "\n\n".join(parts).splitlines())
    return "\n".join(lines) + "\n"


async def _rows(connection: AsyncConnection[DictRow], query: LiteralString, oid: int | None = None) -> list[DictRow]:
    return await (await connection.execute(query, None if oid is None else {"oid": oid})).fetchall()


async def _relation(connection: AsyncConnection[DictRow], row: DictRow) -> str:
    oid = row["oid"]
    head = f"{row['kind']} {row['name']}"
    for word in ("partitioned", "parent", "bound", "options", "replica identity"):
        head += f" {word}: {row[word]}" if row[word] else ""
    lines = [head, *_comment(row["comment"])]
    if row["kind"] == "sequence":
        return "\n".join([*lines, *(f"    {r['line']}" for r in await _rows(connection, SEQUENCE, oid))])
    for column in await _rows(connection, COLUMNS, oid):
        lines += [f"    {column['line']}", *_comment(column["comment"])]
    for query in (CONSTRAINTS, INDEXES):
        lines += [f"    {r['line']}" for r in await _rows(connection, query, oid)]
    for trigger in await _rows(connection, TRIGGERS, oid):
        state = "" if trigger["enabled"] == "O" else f" -- enabled: {trigger['enabled']}"
        lines += [f"    {trigger['line']}{state}", *_comment(trigger["comment"])]
    return "\n".join(lines)


def _function(row: DictRow) -> str:
    return "\n".join([row["line"].rstrip(), *_comment(row["comment"])])


def _comment(text: str | None) -> list[str]:
    return [] if text is None else [f"        -- {text}"]
