"""Whether each watched table is captured: its triggers are there, current and enabled, and nothing goes around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

from worker.capture.install import TriggerStatus, trigger_status
from worker.doctor.finding import Finding, judged, wrong
from worker.doctor.patient import Patient
from worker.errors import DeclarationError, WatchError
from worker.install.enrolment import enrolled
from worker.telemetry.error_line import error_line

# Tables that inherit from it or are its partitions, and who else may write to them directly.
CHILDREN: LiteralString = """
select c.oid::regclass::text as name, c.relispartition as partition,
       (select string_agg(distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end, ', ')
        from aclexplode(c.relacl) a
        where a.grantee <> c.relowner and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')) as writers
from pg_catalog.pg_partition_tree(to_regclass(%s)) t join pg_catalog.pg_class c on c.oid = t.relid
where t.level > 0 and c.relkind in ('r', 'p')
union all
select c.oid::regclass::text, false, null
from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass(%s) and not c.relispartition
order by name
"""
# Rows are written by triggers, with the rights of who owns their functions.
UNCAPTURED: LiteralString = """
select u.topic, count(*) as statements, min(u.at)::timestamp(0)::text as first, max(u.error) as error
from hearken.uncaptured u group by u.topic order by u.topic
"""
POWERLESS: LiteralString = """
select string_agg(distinct pg_get_userbyid(p.proowner), ', ') as owners
from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
join pg_catalog.pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'hearken' and p.proname like 'capture\\_%%'
  and not (has_schema_privilege(p.proowner, n.oid, 'usage')
           and has_table_privilege(p.proowner, 'hearken.events', 'insert')
           and has_sequence_privilege(p.proowner, 'hearken.events_id_seq', 'usage'))
"""
# What those functions call, and what of it is gone or not for their owners.
CALLED: LiteralString = """
select string_agg(distinct 'hearken.' || f.name, ', ' order by 'hearken.' || f.name) as functions,
       bool_or(to_regprocedure('hearken.' || f.name) is null) as gone, o.owner::regrole::text as owner
from unnest(array['note()', 'fits(text,text)', 'shape(oid)', 'columns(oid,text[])', 'key_now(oid,text[],text)'])
     f (name)
cross join (select distinct p.proowner as owner
            from pg_catalog.pg_trigger t join pg_catalog.pg_proc p on p.oid = t.tgfoid
            where p.pronamespace = to_regnamespace('hearken') and p.proname like 'capture\\_%%') o
where has_function_privilege(o.owner, to_regprocedure('hearken.' || f.name), 'execute') is not true
group by o.owner order by o.owner
"""
QUOTED: LiteralString = "select format('%%I.%%I', %s::text, %s::text) as name"
ENABLED = {"D": "is disabled", "R": "is enabled for replication only (ENABLE REPLICA)"}


async def check_tables(patient: Patient) -> list[Finding]:
    """A line for each table that a declared handler watches."""
    topics = sorted({h.topic for h in patient.registry.every_handler.values() if h.is_table})
    return [await _look_at(patient, topic) for topic in topics]


async def check_leftovers(patient: Patient) -> list[Finding]:
    """Triggers that no handler needs, of the code or of the tables."""
    wanted = {handler.topic for handler in patient.registry.every_handler.values()}
    async with patient.connection() as connection:
        installed = {trigger.topic for trigger in await trigger_status(connection, ())}
        heard = {topic for known in (await enrolled(connection)).values() for topic in known.topics}
    left = ", ".join(sorted(installed - wanted - heard))
    problems = [f"{left}: no handler needs it, run `hearken migrate`"] if left else []
    return [judged("triggers", "none is left over on other tables", problems)]


async def check_uncaptured(patient: Patient) -> list[Finding]:
    """Changes that the log lacks, and whether it would take the next ones."""
    problems = [
        f"{row['statements']} statements on {row['topic']} since {row['first']} are not in the log ({row['error']}):"
        f" end the cause, run `hearken backfill {row['topic']}`, then: delete from hearken.uncaptured where topic ="
        f" '{row['topic']}'"
        for row in await patient.rows(UNCAPTURED)
    ]
    if owners := (await patient.row(POWERLESS))["owners"]:
        problems.append(
            f"{owners} owns capture functions and may not append to the log: grant usage on schema hearken, insert on"
            f" hearken.events, usage on sequence hearken.events_id_seq to {owners}"
        )
    problems += [_uncallable(row) for row in await patient.rows(CALLED)]
    return [judged("capture", "every change of a watched table is in the log", problems)]


def _uncallable(row: dict[str, Any]) -> str:
    if row["gone"]:
        return (
            f"capture functions call {row['functions']}, not all of which are there: make them again, see schema/engine"
        )
    return (
        f"{row['owner']} owns capture functions and may not execute what they call: grant execute on function"
        f" {row['functions']} to {row['owner']}"
    )


async def _look_at(patient: Patient, topic: str) -> Finding:
    handlers = [handler for handler in patient.registry.every_handler.values() if handler.topic == topic]
    try:
        async with patient.connection() as connection:
            found = [t for t in await trigger_status(connection, handlers) if t.topic == topic]
    except (WatchError, DeclarationError) as error:
        return wrong(topic, error_line(error))
    problems = [*_of_triggers(found), *await _of_children(patient, topic)]
    always = sum(t.enabled == "A" for t in found)
    return judged(topic, f"triggers current: {len(found)}" + (f", {always} ENABLE ALWAYS" if always else ""), problems)


def _of_triggers(found: list[TriggerStatus]) -> Iterator[str]:
    for trigger in found:
        if trigger.state == "disabled":
            yield f"trigger {trigger.name} {ENABLED[trigger.enabled]}, ordinary changes are not captured"
        elif trigger.state != "current":
            yield f"trigger {trigger.name} is {trigger.state if trigger.state != 'orphan' else 'no longer needed'}"
    if any(trigger.state != "current" for trigger in found):
        yield "run `hearken migrate`"


async def _of_children(patient: Patient, topic: str) -> list[str]:
    schema, _, name = topic.partition(".")
    relation = (await patient.row(QUOTED, (schema, name)))["name"]
    problems = []
    for child in await patient.rows(CHILDREN, (relation, relation)):
        if not child["partition"]:
            problems.append(f"{child['name']} inherits from it: rows inserted there are not captured; watch it too")
        elif child["writers"]:
            problems.append(
                f"{child['writers']} may write to its partition {child['name']} directly, which is not captured:"
                f" revoke insert, update, delete, truncate on {child['name']} from {child['writers']}"
            )
    return problems
