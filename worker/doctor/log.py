"""Whether the log has its partitions, ahead and no older than wanted, and how large it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import LiteralString

from psycopg.rows import scalar_row

from worker.doctor.finding import Finding, fine, judged, wrong
from worker.doctor.patient import Patient
from worker.log.partitions import UNPASSED, Partition, missing_partitions, partitions
from worker.telemetry.spans import span

# How many events of the default partition are counted at most.
COUNTED = 10_000
# Days after its time that a partition may still be there: it is dropped hourly, but by one worker only.
LATE = 2

SIZE: LiteralString = """
select count(*) as partitions, pg_size_pretty(coalesce(sum(pg_total_relation_size(inhrelid)), 0)) as size
from pg_catalog.pg_inherits where inhparent = to_regclass('hearken.events')
"""
STRAYS: LiteralString = """
select count(*) as events, min(at)::text as first, max(at)::text as last, max(at) > now() - interval '1 day' as lately
from (select at from hearken.events_default limit %s) e
"""
TRUSTED: LiteralString = """
select greatest(extract(epoch from seen - trusted), 0)::float8 as behind from hearken.retention
"""
# Seconds by which the clock of retention may be behind: it is looked at hourly.
BEHIND = 86_400.0
MAKE = (
    "run `hearken migrate` as the owner of hearken.events, or make the workers' role a member of it: then they make"
    " partitions ahead"
)


async def check_log(patient: Patient) -> list[Finding]:
    """Its size, and the partitions of today and the days to come."""
    size = await patient.row(SIZE)
    async with patient.connection() as connection:
        missing = await missing_partitions(connection)
    days = ", ".join(str(partition.day) for partition in missing)
    problems = [f"no partition for {days}, so events go to the default partition: {MAKE}"] if missing else []
    return [judged("log", f"{size['partitions']} partitions, {size['size']}", problems)]


async def check_default_partition(patient: Patient) -> list[Finding]:
    """Events for whose day there was no partition. Those that are there keep their day from getting one."""
    found = await patient.row(STRAYS, (COUNTED,))
    if not found["events"]:
        return [fine("default partition", "has no events")]
    count = f"{found['events']}{'+' if found['events'] == COUNTED else ''} events, from {found['first']}"
    text = f"has {count} to {found['last']}; they are deleted with their age"
    return [wrong("default partition", f"{text}; {MAKE}") if found["lately"] else fine("default partition", text)]


async def check_old_partitions(patient: Patient) -> list[Finding]:
    """Partitions that should have been dropped, and who is not done with the oldest."""
    days = patient.settings.retention_days
    async with patient.connection() as connection:
        known = await partitions(connection)
        old = [p for p in known if p.day < (datetime.now(UTC) - timedelta(days=days + LATE)).date()]
        waiting = []
        if old:
            async with connection.cursor(row_factory=scalar_row) as cursor:
                await cursor.execute(UNPASSED.format(partition=old[0].identifier))
                waiting = await cursor.fetchall()
    return [judged("old partitions", f"none is older than {days} days", _why_kept(old, waiting))]


async def check_retention(patient: Patient) -> list[Finding]:
    """Whether what is old is told by the server's clock, or by one that is behind because that one has jumped."""
    behind = float((await patient.row(TRUSTED))["behind"])
    if behind <= BEHIND:
        return [fine("retention", "goes by the server's clock")]
    return [
        wrong(
            "retention",
            f"the server's clock has jumped, or no worker ran for long: everything is kept {span(behind)} longer, which"
            " wears off by itself; set a wrong clock right, or, if it is right: update hearken.retention set trusted ="
            " now()",
        )
    ]


def _why_kept(old: list[Partition], waiting: list[str]) -> list[str]:
    if not old:
        return []
    kept = f"{len(old)} should have been dropped, the oldest is of {old[0].day}"
    if waiting:
        return [f"{kept}: {', '.join(waiting)} still needs it; see `hearken status`"]
    return [f"{kept}: no worker has dropped it; make the workers' role a member of the owner of hearken.events"]
