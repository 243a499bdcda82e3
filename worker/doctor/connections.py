"""Whether the server has room for the workers' connections: its own limit, the role's, and the database's."""

from __future__ import annotations

from typing import Any, LiteralString

from worker.doctor.finding import Finding, judged
from worker.doctor.patient import Patient
from worker.postgres.database import ENGINE

# Beside the pools: to listen, to look at the database, and, for a moment each hour, for the log's partitions; and the
# one in reserve for a handler that borrows a second.
BESIDE = 4 + ENGINE
# Share of the server's connections above which a deploy, or a burst of the application, may find none free.
NEARLY_ALL = 0.9

LIMITS: LiteralString = """
select current_setting('max_connections')::int as most,
       current_setting('superuser_reserved_connections')::int
           + coalesce(current_setting('reserved_connections', true), '0')::int as reserved,
       (select sum(numbackends)::int from pg_catalog.pg_stat_database) as used,
       (select rolconnlimit from pg_catalog.pg_roles where rolname = current_user) as of_role,
       (select datconnlimit from pg_catalog.pg_database where datname = current_database()) as of_database,
       (select count(distinct application_name)::int from pg_catalog.pg_stat_activity
        where datname = current_database() and application_name like 'hearken %:%') as workers,
       current_user::text as role, current_database()::text as database
"""


async def check_connections(patient: Patient) -> list[Finding]:
    """For the workers that are there, or the first one, with the settings as they are here."""
    has = await patient.row(LIMITS)
    per_worker = patient.settings.batches + patient.settings.connections + BESIDE
    needed = per_worker * max(1, has["workers"])
    text = f"workers: {has['workers']}, up to {per_worker} connections each; {has['used']} of {has['most']} are in use"
    return [judged("connections", text, _problems(has, needed))]


def _problems(has: dict[str, Any], needed: int) -> list[str]:
    room = has["most"] - has["reserved"]
    limits = {"max_connections leaves": room}
    if has["of_role"] >= 0:
        limits[f"role {has['role']} may have"] = has["of_role"]
    if has["of_database"] >= 0:
        limits[f"database {has['database']} may have"] = has["of_database"]
    problems = [
        f"workers need up to {needed}, but {whose} {limit}: raise it, or lower HEARKEN_BATCHES or HEARKEN_CONNECTIONS"
        for whose, limit in limits.items()
        if limit < needed
    ]
    if has["used"] >= NEARLY_ALL * room:
        problems.append(f"{has['used']} of {room} are in use: close some, or raise max_connections")
    return problems
