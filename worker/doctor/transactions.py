"""Transactions that stay open: their own events wait for them, and so do vacuum, migrations and dropped partitions."""

from __future__ import annotations

from typing import LiteralString

from worker.doctor.finding import Finding, fine, unknown, wrong
from worker.doctor.patient import Patient
from worker.telemetry.spans import span

# A transaction that is open for this many seconds is a problem.
LONG = 300.0

# What other roles do is hidden from a role that may not see it.
# https://www.postgresql.org/docs/current/monitoring-stats.html
OLDEST: LiteralString = """
select pid, coalesce(nullif(application_name, ''), 'no application name') as application, usename::text as role, state,
       extract(epoch from clock_timestamp() - xact_start)::float8 as age
from pg_catalog.pg_stat_activity
where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()
order by xact_start limit 1
"""
HIDDEN: LiteralString = """
select count(*) as sessions, current_user::text as role from pg_catalog.pg_stat_activity
where datname = current_database() and query = '<insufficient privilege>'
"""
PREPARED: LiteralString = """
select gid, owner::text as role, extract(epoch from clock_timestamp() - prepared)::float8 as age
from pg_catalog.pg_prepared_xacts where database = current_database() order by prepared
"""


async def check_transactions(patient: Patient) -> list[Finding]:
    """The oldest one, whose it is; and whether others may be hidden."""
    findings = [_judged(row) for row in await patient.rows(OLDEST)]
    hidden = await patient.row(HIDDEN)
    if hidden["sessions"]:
        text = (
            f"{hidden['sessions']} sessions of other roles cannot be seen: grant pg_read_all_stats to {hidden['role']}"
        )
        findings.append(unknown("transactions", text))
    return findings or [fine("transactions", "none is open")]


def _judged(row: dict[str, object]) -> Finding:
    age = float(str(row["age"]))
    whose = f"pid {row['pid']} ({row['application']}, role {row['role']}, {row['state']})"
    if age < LONG:
        return fine("transactions", f"the oldest is {whose}, open for {span(age)}")
    return wrong(
        "transactions",
        f"{whose} has a transaction open for {span(age)}: its events and vacuum wait for it; end it in its application,"
        f" or with `select pg_terminate_backend({row['pid']})`",
    )


async def check_prepared(patient: Patient) -> list[Finding]:
    """Prepared transactions outlive their session, and a restart of the server."""
    found = await patient.rows(PREPARED)
    old = [row for row in found if row["age"] >= LONG]
    if not old:
        return [fine("prepared transactions", f"{len(found)} are waiting" if found else "none")]
    return [
        wrong(
            "prepared transactions",
            f"{row['gid']!r} of role {row['role']} has been open for {span(row['age'])}: its events wait, and vacuum"
            " does; run `commit prepared` or `rollback prepared` with that name",
        )
        for row in old
    ]
