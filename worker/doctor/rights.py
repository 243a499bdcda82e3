"""Whether the role of DATABASE_URL may do what a worker does."""

from __future__ import annotations

from worker.doctor.finding import Finding, fine
from worker.doctor.patient import Patient
from worker.rights import require_rights


async def look(patient: Patient) -> list[Finding]:
    """Raises NotAllowed with the GRANT statements that are wanting."""
    async with patient.connection() as connection:
        await require_rights(connection)
    return [fine("rights", "the role may do a worker's work")]
