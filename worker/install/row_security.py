"""Whether the role of DATABASE_URL sees every row of what is read: asked by `app`, /readyz and the doctor.

On our connections the server refuses to leave rows out (see `postgres/session`). Here that is known before the first
delivery, with what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row

from worker.declare.registry import Registry
from worker.errors import RowsHidden

# A view reads with its owner's rights, unless it says otherwise. Whom a policy does not concern, the server decides by
# the same rules: https://www.postgresql.org/docs/current/ddl-rowsecurity.html
# (`row_security_active()` knows them too, but only for the role that asks.)
CONCERNED: LiteralString = """
with recursive reads (relation, reader) as (
    select c.oid, (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where (n.nspname = 'hearken' or n.nspname || '.' || c.relname = any(%s::text[])) and c.relkind in ('r', 'p', 'v')
      and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select')
    union
    select d.refobjid, case when coalesce(
        (select o.option_value::boolean from pg_options_to_table(v.reloptions) o
         where o.option_name = 'security_invoker'), false) then w.reader else v.relowner end
    from reads w join pg_catalog.pg_class v on v.oid = w.relation and v.relkind = 'v'
    join pg_catalog.pg_rewrite u on u.ev_class = v.oid
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = u.oid
        and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> v.oid
)
select format('%%I.%%I', n.nspname, c.relname) as name, r.rolname::text as role, o.rolname::text as owner,
       pg_has_role(r.oid, c.relowner, 'usage') as owns
from reads w join pg_catalog.pg_class c on c.oid = w.relation and c.relkind in ('r', 'p')
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_roles r on r.oid = w.reader join pg_catalog.pg_roles o on o.oid = c.relowner
where c.relrowsecurity and not r.rolsuper and not r.rolbypassrls
  and (c.relforcerowsecurity or not pg_has_role(r.oid, c.relowner, 'usage'))
order by role, name
"""


async def require_every_row(connection: AsyncConnection[Any], registry: Registry) -> None:
    """Raises RowsHidden with the tables of which a policy could hide rows, and the statements that end that."""
    relations = {handler.topic for handler in registry.handlers.values() if handler.is_table} | registry.relations
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CONCERNED, (sorted(relations),))
        concerned = await cursor.fetchall()
    if concerned:
        raise RowsHidden("; ".join(_of_roles(concerned)))


def _of_roles(concerned: Iterable[DictRow]) -> Iterator[str]:
    for role, found in groupby(concerned, key=lambda row: str(row["role"])):
        tables = list(found)
        named = sql.Identifier(role).as_string()
        otherwise = sorted({_without_superuser(named, table) for table in tables})
        yield (
            f"row-level security may hide rows of {', '.join(table['name'] for table in tables)} from role {role}, and"
            f" what is hidden would pass for deleted: as a superuser, run: alter role {named} bypassrls; or, as the"
            f" owner, run: {'; '.join(otherwise)} (a policy that shows every row is not enough: the next may hide some)"
        )


def _without_superuser(role: str, table: DictRow) -> str:
    """Its owner is exempt, unless the table says otherwise."""
    if table["owns"]:
        return f"alter table {table['name']} no force row level security"
    return f"grant {sql.Identifier(table['owner']).as_string()} to {role}"
