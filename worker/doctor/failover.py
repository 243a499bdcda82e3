"""Whether the database failed over, and nobody has said yet that outside systems agree with it again."""

from __future__ import annotations

from worker.doctor.finding import Finding, judged
from worker.doctor.patient import Patient
from worker.log.failover import open_failovers


async def check_failover(patient: Patient) -> list[Finding]:
    """What was noticed, and what to do."""
    async with patient.connection() as connection:
        noticed = await open_failovers(connection)
    problems = [f"{'; '.join(map(str, noticed))}: run `hearken failover`"] if noticed else []
    return [judged("failover", "none is open", problems)]
