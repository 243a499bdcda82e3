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
PATIENCE = 15.0
# After so many checks in a row for which the connection was lost, the database is away.
LOSSES = 2
SLOW = (errors.QueryCanceled, errors.LockNotAvailable)
UNMIGRATED = (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedFunction, errors.UndefinedColumn)

Look = Callable[[], Awaitable[list[Finding]]]


@dataclass(frozen=True)
class Check:
    """A check of the database. `of_code`: it compares with what is declared, and needs that to be known."""

    name: str
    look: Callable[[Patient], Awaitable[list[Finding]]]
    of_code: bool = False


CHECKS = (
    Check("notifications", notifications.look),
    Check("rights", rights.look),
    Check("clock", clock.look),
    Check("migrations", schema.look, of_code=True),
    Check("tables", tables.look, of_code=True),
    Check("triggers", tables.look_at_leftovers, of_code=True),
    Check("session_replication_role", replication_role.look),
    Check("handlers", handlers.look, of_code=True),
    Check("schedules", schedules.look, of_code=True),
    Check("log", log.look),
    Check("default partition", log.look_at_default),
    Check("old partitions", log.look_at_old),
    Check("transactions", transactions.look),
    Check("prepared transactions", transactions.look_at_prepared),
    Check("notification queue", notifications.look_at_queue),
    Check("connections", connections.look),
    Check("canary", canary.look),
)


async def examine(load: Callable[[], Registry]) -> AsyncIterator[Finding]:
    """Everything that is found, as it is found. `load` imports what is declared. Never raises."""
    registry, found = _declared(load)
    yield found
    for finding in configuration.look(registry):
        yield finding
    settings = configuration.settings_to_look_with()
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
        for finding in await ask(diagnosis.name, partial(declared.look, diagnosis, database)):
            yield finding


async def _of_database(patient: Patient) -> AsyncIterator[Finding]:
    """All that is asked of the database; once it is away, only what is not known because of that."""
    reached = await ask("database", partial(reach.look, patient))
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
            findings = await ask(check.name, partial(check.look, patient))
            losses = losses + 1 if _lost(patient) else 0
            for finding in findings:
                yield finding
    if skipped:
        yield unknown("not looked at", f"{', '.join(skipped)}: the database is away")


def _lost(patient: Patient) -> bool:
    return not patient.inspection.connected


async def ask(name: str, look: Look) -> list[Finding]:
    """What one check finds; when it cannot be made, that."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await look()
    except TimeoutError:
        return [unknown(name, f"no answer within {PATIENCE:g} s")]
    except HearkenError as error:
        return [wrong(name, error_line(error))]
    except Error as error:
        return [_of_server(name, error)]
    except Exception as error:
        return [unknown(name, f"the check failed: {error_line(error)}")]


def _of_server(name: str, error: Error) -> Finding:
    if isinstance(error, errors.InsufficientPrivilege):
        return unknown(name, f"the role may not look ({error_line(error)}): ask with the owner's role")
    if isinstance(error, UNMIGRATED):
        return unknown(name, f"not known before `hearken migrate` ({error_line(error)})")
    if isinstance(error, SLOW):
        return unknown(name, f"not answered in time ({error_line(error)})")
    if isinstance(error, OperationalError):
        return wrong(name, f"the database cannot be reached: {error_line(error)}")
    return unknown(name, f"the check failed: {error_line(error)}")
