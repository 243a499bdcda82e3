"""Whether the ticks of the declared schedules come."""

from __future__ import annotations

from worker.doctor.finding import Finding, fine
from worker.doctor.patient import Patient
from worker.observe.stalls import judge_schedules
from worker.observe.status import read_status


async def check_schedules(patient: Patient) -> list[Finding]:
    """Nothing is said where none is declared. Raises CheckFailed with those that are unknown or late."""
    handlers = patient.registry.handlers
    if not any(handler.schedule for handler in handlers.values()):
        return []
    async with patient.connection() as connection:
        statuses = await read_status(connection, handlers, most=1)
    return [fine("schedules", judge_schedules(handlers, statuses, patient.settings.stalled_after))]
