"""Whether the role of DATABASE_URL may do what a worker does: asked by `app` before anything is delivered.

A role that may read the log but not move its cursor would deliver the same events again and again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import tuple_row

from worker.declare.handler import Handler
from worker.errors import NotAllowed

NEEDED: dict[str, tuple[str, ...]] = {
    "migrations": ("select",),
    "events": ("select",),
    "events_id_seq": ("usage",),
    "cursors": ("select", "insert", "update", "delete"),
    "declarations": ("select",),
    "moves": ("select",),
    "workers": ("select", "insert", "update", "delete"),
    "parked": ("select", "insert", "update", "delete"),
    "paused": ("select", "insert"),
    "brakes": ("select", "insert", "update"),
    "effects": ("select", "insert", "update"),
    "timelines": ("select", "insert"),
    "lost_events": ("select", "insert"),
    "retention": ("select", "update"),
    "uncaptured": ("select", "delete"),
    "schedules": ("select",),
    "canary": ("select", "insert", "update", "delete"),
}
# A worker that has schedules appends their ticks, and one with endpoints what it is asked; both keep the outcome.
NEEDED_TO_RUN: dict[str, tuple[str, ...]] = {
    "events": ("insert",),
    "runs": ("select", "insert", "update", "delete"),
}
NEEDED_TO_TICK: dict[str, tuple[str, ...]] = {"schedules": ("update",)}
# Null, which is not reported, while the schema does not exist: then it is not migrated yet.
USABLE: LiteralString = "select current_user::text, has_schema_privilege(to_regnamespace('hearken'), 'usage')"
LACKING: LiteralString = """
select case c.relkind when 'S' then 'sequence ' else '' end, c.relname::text,
       string_agg(n.privilege, ', ' order by n.place)
from unnest(%s::text[], %s::text[]) with ordinality as n (relation, privilege, place)
join pg_catalog.pg_class c on c.relname = n.relation and c.relnamespace = to_regnamespace('hearken')
where not case c.relkind when 'S' then has_sequence_privilege(c.oid, n.privilege)
                         else has_table_privilege(c.oid, n.privilege) end
group by c.relkind, c.relname order by min(n.place)
"""


def _needs(handlers: list[Handler]) -> list[dict[str, tuple[str, ...]]]:
    runs = any(not handler.is_table for handler in handlers)
    ticks = any(handler.schedule for handler in handlers)
    return [NEEDED, *([NEEDED_TO_RUN] if runs else []), *([NEEDED_TO_TICK] if ticks else [])]


async def require_rights(connection: AsyncConnection[Any], handlers: Iterable[Handler]) -> None:
    """Raises NotAllowed with the GRANT statements that are missing to run these handlers."""
    needs = _needs(list(handlers))
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(USABLE)
        ((role, usable),) = await cursor.fetchall()
        wanted = [(relation, privilege) for need in needs for relation, names in need.items() for privilege in names]
        await cursor.execute(LACKING, ([relation for relation, _ in wanted], [privilege for _, privilege in wanted]))
        lacking = await cursor.fetchall()
    grants = ["grant usage on schema hearken"] if usable is False else []
    grants += [f"grant {privileges} on {kind}hearken.{relation}" for kind, relation, privileges in lacking]
    if grants:
        to = sql.Identifier(role).as_string()
        raise NotAllowed(
            f"the database role {role} lacks privileges that a worker needs; as the owner of the schema, run: "
            + "; ".join(f"{grant} to {to}" for grant in grants)
        )
