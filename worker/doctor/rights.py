"""Whether the role of DATABASE_URL may do what a worker does, and sees every row."""

from __future__ import annotations

from typing import LiteralString

from worker.doctor.finding import Finding, fine, unknown
from worker.doctor.patient import Patient
from worker.install.privileges import require_rights
from worker.install.row_security import require_every_row

MIGRATED: LiteralString = "select to_regnamespace('hearken') is not null as migrated"


async def check_privileges(patient: Patient) -> list[Finding]:
    """Raises NotAllowed with the GRANT statements that are missing."""
    if not (await patient.row(MIGRATED))["migrated"]:
        return [unknown("rights", "not known before `hearken migrate`")]
    async with patient.connection() as connection:
        await require_rights(connection, patient.registry.handlers.values())
    return [fine("rights", "the role may do a worker's work")]


async def check_row_security(patient: Patient) -> list[Finding]:
    """Raises RowsHidden with what a policy could hide, and the statements that end that."""
    async with patient.connection() as connection:
        await require_every_row(connection, patient.registry)
    return [fine("row security", "no policy hides rows from the role")]
