"""Whether the files of schema/ are applied."""

from __future__ import annotations

from worker.doctor.finding import Finding, fine, wrong
from worker.doctor.patient import Patient
from worker.install import migrations


async def check_schema(patient: Patient) -> list[Finding]:
    """Raises MigrationError for one that was edited after it was applied."""
    files = migrations.find_migrations(patient.registry.areas)
    async with patient.connection() as connection:
        pending = await migrations.pending(connection, files)
    if pending:
        return [wrong("migrations", f"run `hearken migrate`; pending: {', '.join(map(str, pending))}")]
    return [fine("migrations", f"all {len(files)} are applied")]
