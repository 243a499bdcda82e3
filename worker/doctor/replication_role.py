"""Whether sessions go around the triggers: session_replication_role, as roles and databases have it set."""

from __future__ import annotations

from typing import LiteralString

from worker.doctor.finding import Finding, judged
from worker.doctor.patient import Patient

OURS: LiteralString = "select current_setting('session_replication_role') as role"
# What ALTER ROLE and ALTER DATABASE have set for the sessions of this database.
SET: LiteralString = """
select case when s.setrole = 0 then 'every role' else 'role ' || s.setrole::regrole::text end
       || case when s.setdatabase = 0 then '' else ' in this database' end as whose, entry
from pg_catalog.pg_db_role_setting s cross join unnest(s.setconfig) entry
where s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
  and entry like 'session_replication_role=%' and entry <> 'session_replication_role=origin'
order by whose
"""


async def check_replication_role(patient: Patient) -> list[Finding]:
    """What a session sets for itself cannot be seen from here."""
    ours = (await patient.row(OURS))["role"]
    problems = [f"{found['whose']} has {found['entry']}" for found in await patient.rows(SET)]
    if ours != "origin" and not problems:
        problems.append(f"this session has session_replication_role={ours}")
    if problems:
        problems.append("such changes are not captured; reset it (ALTER ROLE or DATABASE … RESET)")
    return [judged("session_replication_role", "origin, for every role", problems)]
