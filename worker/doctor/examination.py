"""The examination: every check in order. Each has its own time, and none keeps another from being made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from psycopg import Error, OperationalError, errors

from worker.declare.registry import Registry
from worker.doctor import (
    canary,
    clock,
    configuration,
    connections,
    declared,
    encoding,
    failover,
    handlers,
    log,
    notifications,
    reach,
    replication_role,
    rights,
    schedules,
    schema,
    tables,
    transactions,
)
from worker.doctor.finding import Finding, fine, unknown, wrong
from worker.doctor.patient import Patient
from worker.errors import HearkenError
from worker.postgres.database import Database
from worker.postgres.own_connection import Inspection
from worker.telemetry.error_line import error_line

# Seconds for one check: longer than it takes to give up connecting.
CHECK_WITHIN = 15.0
# After this many checks in a row that lost the connection, the database is unreachable.
LOSSES = 2
SLOW = (errors.QueryCanceled, errors.LockNotAvailable)
UNMIGRATED = (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedFunction, errors.UndefinedColumn)

CheckFunction = Callable[[], Awaitable[list[Finding]]]


@dataclass(frozen=True)
class DoctorCheck:
    """A check of the database. `of_code`: it compares with what is declared, and needs that to be known."""

    name: str
    look: Callable[[Patient], Awaitable[list[Finding]]]
    of_code: bool = False


CHECKS = (
    DoctorCheck("notifications", notifications.check_notifications),
    DoctorCheck("rights", rights.check_privileges),
    DoctorCheck("row security", rights.check_row_security, of_code=True),
    DoctorCheck("encoding", encoding.check_encoding),
    DoctorCheck("clock", clock.check_clock),
    DoctorCheck("migrations", schema.check_schema, of_code=True),
    DoctorCheck("tables", tables.check_tables, of_code=True),
    DoctorCheck("triggers", tables.check_leftovers, of_code=True),
    DoctorCheck("capture", tables.check_uncaptured),
    DoctorCheck("session_replication_role", replication_role.check_replication_role),
    DoctorCheck("handlers", handlers.check_handlers, of_code=True),
    DoctorCheck("schedules", schedules.check_schedules, of_code=True),
    DoctorCheck("failover", failover.check_failover),
    DoctorCheck("log", log.check_log),
    DoctorCheck("default partition", log.check_default_partition),
    DoctorCheck("old partitions", log.check_old_partitions),
    DoctorCheck("retention", log.check_retention),
    DoctorCheck("transactions", transactions.check_transactions),
    DoctorCheck("prepared transactions", transactions.check_prepared),
    DoctorCheck("notification queue", notifications.check_notification_queue),
    DoctorCheck("connections", connections.check_connections),
    DoctorCheck("canary", canary.check_canary),
)


async def examine(load: Callable[[], Registry]) -> AsyncIterator[Finding]:
    """Everything that is found, as it is found. `load` imports what is declared. Never raises."""
    registry, found = _declared(load)
    yield found
    for finding in configuration.check_configuration(registry):
        yield finding
    settings = configuration.settings_for_checks()
    if settings is None:
        yield wrong("database", "not looked at: DATABASE_URL is missing or wrong")
        async for finding in _of_systems(registry, declared.NoDatabase()):
            yield finding
        return
    inspection = Inspection(Database(settings, application="hearken doctor"))
    try:
        async for finding in _of_database(Patient(registry, settings, inspection, loaded=found.state == "ok")):
            yield finding
        async for finding in _of_systems(registry, inspection):
            yield finding
    finally:
        await inspection.close()


def _declared(load: Callable[[], Registry]) -> tuple[Registry, Finding]:
    try:
        registry = load()
    except HearkenError as error:
        return Registry(), wrong("code", error_line(error))
    except Exception as error:
        return Registry(), wrong("code", f"HEARKEN_HANDLERS cannot be imported: {type(error).__name__}: {error}")
    return registry, fine("code", f"{len(registry.handlers)} handlers are declared")


async def _of_systems(registry: Registry, database: Inspection | declared.NoDatabase) -> AsyncIterator[Finding]:
    for diagnosis in registry.diagnoses:
        for finding in await run_check(diagnosis.name, partial(declared.check_declared, diagnosis, database)):
            yield finding


async def _of_database(patient: Patient) -> AsyncIterator[Finding]:
    """Every check of the database; once it is unreachable, one line with the checks that could not be made."""
    reached = await run_check("database", partial(reach.check_reach, patient))
    for finding in reached:
        yield finding
    losses = LOSSES if any(finding.state == "problem" for finding in reached) and _lost(patient) else 0
    skipped = []
    for check in CHECKS:
        if losses >= LOSSES:
            skipped.append(check.name)
        elif check.of_code and not patient.loaded:
            yield unknown(check.name, "not looked at: what is declared is not known")
        else:
            findings = await run_check(check.name, partial(check.look, patient))
            losses = losses + 1 if _lost(patient) else 0
            for finding in findings:
                yield finding
    if skipped:
        yield unknown("not looked at", f"{', '.join(skipped)}: the database is unreachable")


def _lost(patient: Patient) -> bool:
    return not patient.inspection.connected


async def run_check(name: str, look: CheckFunction) -> list[Finding]:
    """What one check finds; when it cannot be made, that."""
    try:
        async with asyncio.timeout(CHECK_WITHIN):
            return await look()
    except TimeoutError:
        return [unknown(name, f"no answer within {CHECK_WITHIN:g} s")]
    except HearkenError as error:
        return [wrong(name, error_line(error))]
    except Error as error:
        return [_of_server(name, error)]
    except Exception as error:
        return [unknown(name, f"the check failed: {error_line(error)}")]


def _of_server(name: str, error: Error) -> Finding:
    if isinstance(error, errors.InsufficientPrivilege):
        return unknown(name, f"the role may not read this ({error_line(error)}): run the doctor with the owner's role")
    if isinstance(error, UNMIGRATED):
        return unknown(name, f"not known before `hearken migrate` ({error_line(error)})")
    if isinstance(error, SLOW):
        return unknown(name, f"no answer in time ({error_line(error)})")
    if isinstance(error, OperationalError):
        return wrong(name, f"the database cannot be reached: {error_line(error)}")
    return unknown(name, f"the check failed: {error_line(error)}")
