"""The capture triggers in the database: what is missing, outdated or left over, and installing it.

Run by `hearken migrate`; only looked at by `hearken run`, `/readyz` and `hearken doctor`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row, scalar_row

from worker.capture.catalog import read_table
from worker.capture.triggers import Trigger, compile_triggers, function_prefix
from worker.declare.handler import Handler

TriggerState = Literal["current", "missing", "outdated", "disabled", "orphan"]

INSTALLED: LiteralString = """
select n.nspname || '.' || c.relname as topic, n.nspname as schema, c.relname as table, t.tgname as name,
       t.tgenabled::text as enabled, obj_description(t.oid, 'pg_trigger') as comment
from pg_catalog.pg_trigger t
join pg_catalog.pg_proc p on p.oid = t.tgfoid
join pg_catalog.pg_namespace f on f.oid = p.pronamespace
join pg_catalog.pg_class c on c.oid = t.tgrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where f.nspname = 'hearken' and p.proname like 'capture\\_%' and not t.tgisinternal and t.tgparentid = 0
"""
CAPTURES: LiteralString = """
select exists(select from pg_catalog.pg_trigger t
    join pg_catalog.pg_proc p on p.oid = t.tgfoid
    join pg_catalog.pg_class c on c.oid = t.tgrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname || '.' || c.relname = %s and p.pronamespace = to_regnamespace('hearken')
      and starts_with(p.proname, %s))
"""
DROP = sql.SQL("drop trigger {} on {}")


@dataclass(frozen=True)
class TriggerStatus:
    """One capture trigger: how it stands, and the statements that make it current (none when it is).

    enabled  for which sessions it fires, as pg_trigger.tgenabled says (O, D, R, A); empty when it is missing
    """

    topic: str
    name: str
    state: TriggerState
    statements: tuple[str, ...] = ()
    enabled: str = ""

    def __str__(self) -> str:
        return f"trigger {self.name} on {self.topic}: {self.state}"


async def trigger_status(connection: AsyncConnection[Any], handlers: Iterable[Handler]) -> list[TriggerStatus]:
    """Every trigger that the handlers need or that is there. Raises WatchError, DeclarationError."""
    compiled = await _compiled(connection, handlers)
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(INSTALLED)
        installed = {(row["topic"], row["name"]): row for row in await cursor.fetchall()}
    wanted = {(t.table.topic, t.name) for t in compiled}
    orphans = [_orphan(row) for place, row in installed.items() if place not in wanted]
    return [_status(t, installed.get((t.table.topic, t.name))) for t in compiled] + orphans


async def captures_for(connection: AsyncConnection[Any], topic: str, *, on: str) -> bool:
    """Whether the table `on` has triggers that were compiled for the topic: it had that name before."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(CAPTURES, (on, function_prefix(topic)))
        return bool(await cursor.fetchone())


async def _compiled(connection: AsyncConnection[Any], handlers: Iterable[Handler]) -> list[Trigger]:
    subscriptions = sorted((h.subscription for h in handlers if h.subscription.is_table), key=lambda s: s.topic)
    triggers: list[Trigger] = []
    for topic, of_table in groupby(subscriptions, key=lambda s: s.topic):
        triggers += compile_triggers(await read_table(connection, topic), of_table)
    return triggers


def _status(trigger: Trigger, row: dict[str, Any] | None) -> TriggerStatus:
    state: TriggerState = "current"
    if row is None:
        state = "missing"
    elif row["comment"] != f"hearken {trigger.hash}":
        state = "outdated"
    elif row["enabled"] not in ("O", "A"):
        state = "disabled"
    enabled = "" if row is None else row["enabled"]
    return TriggerStatus(trigger.table.topic, trigger.name, state, _mending(trigger, state), enabled)


def _mending(trigger: Trigger, state: TriggerState) -> tuple[str, ...]:
    if state == "current":
        return ()
    relation = sql.Identifier(trigger.table.schema, trigger.table.name)
    enable = sql.SQL("alter table {} enable trigger {}").format(relation, sql.Identifier(trigger.name)).as_string()
    return (enable,) if state == "disabled" else trigger.statements


def _orphan(row: dict[str, Any]) -> TriggerStatus:
    drop = DROP.format(sql.Identifier(row["name"]), sql.Identifier(row["schema"], row["table"])).as_string()
    return TriggerStatus(row["topic"], row["name"], "orphan", (drop,), row["enabled"])
