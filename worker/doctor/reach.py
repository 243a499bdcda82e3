"""Whether the database can be reached, and is one that can carry the log: version, no replica, no pooler."""

from __future__ import annotations

import asyncio
from typing import LiteralString

from worker.doctor.finding import Finding, fine, wrong
from worker.doctor.patient import Patient

SERVER: LiteralString = """
select current_setting('server_version') as version, current_user::text as role,
       current_setting('transaction_read_only') = 'on' as read_only
"""


async def check_reach(patient: Patient) -> list[Finding]:
    """Connect as a worker does, which refuses what cannot work. Raises psycopg.OperationalError, Unsupported."""
    server = await patient.row(SERVER)
    asked_at = asyncio.get_running_loop().time()
    await patient.row(SERVER)
    milliseconds = (asyncio.get_running_loop().time() - asked_at) * 1000
    if server["read_only"]:
        return [wrong("database", "is read-only: reset default_transaction_read_only for this role or database")]
    return [
        fine("database", f"Postgres {server['version']} answers role {server['role']} in {milliseconds:.1f} ms"),
    ]
