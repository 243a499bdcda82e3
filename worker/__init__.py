"""Hearken: a durable, event-driven worker for Postgres.

change    one row's INSERT, UPDATE or DELETE in a watched table
event     one row of the log: a change, a tick of a schedule, a request, or a snapshot of an existing row
topic     what an event is about: `public.spaces`, `tick/NAME`, `request/NAME`
key       what it is about within its topic: the row's primary key as text
log       `hearken.events`, append-only, never updated
handler   a declared async function; its name is its identity, in tables, metrics and idempotency keys
cursor    how far a handler (and shard) has come in the log: a `pg_snapshot`, not a number
window    the events visible in one snapshot and not in the cursor's; read in batches by id
park      put aside an event that failed, to be retried later with its key; held: waiting behind a parked one of its
          key; dead: attempts used up, a person must look
brake     stops an external handler before a window that takes too much away, until a person confirms
replay    append a past event again, marked, for chosen handlers
backfill  append a snapshot event for every existing row
drift     where source and destination disagree; reconcile: find it and fix it
effect    one write to an outside system by a handler, recorded in a ledger
doorbell  the NOTIFY that wakes a sleeping worker; it carries no data
"""

from typing import TYPE_CHECKING

from worker.version import __version__ as __version__

if TYPE_CHECKING:
    from worker.change import Change
    from worker.declare.cron import Schedule
    from worker.declare.reconciler import Drift, Standing
    from worker.declare.registry import (
        command,
        demo,
        diagnosis,
        endpoint,
        every,
        on,
        readiness,
        reads,
        reconciler,
        resource,
        stand_in,
    )
    from worker.deliver.context import Context
    from worker.deliver.plan import Planned
    from worker.dev.demo import Stage
    from worker.errors import CheckFailed, ConfigurationError, RequestRefused, UsageError
    from worker.operate.audit import Actor
    from worker.operate.reconcile import reconcile
    from worker.outcomes import Outcome, Park, Retry, Skip, Snooze, Unavailable
    from worker.postgres.database import Connection, Database
    from worker.rate_limit import RateLimit
    from worker.telemetry.error_line import error_line
else:
    # Imported when first asked for: `hearken --version` must not wait for a database driver.
    _HOMES = {
        "Actor": "operate.audit",
        "Change": "change",
        "CheckFailed": "errors",
        "ConfigurationError": "errors",
        "Connection": "postgres.database",
        "Context": "deliver.context",
        "Database": "postgres.database",
        "Drift": "declare.reconciler",
        "Outcome": "outcomes",
        "Park": "outcomes",
        "Planned": "deliver.plan",
        "RateLimit": "rate_limit",
        "RequestRefused": "errors",
        "Retry": "outcomes",
        "Schedule": "declare.cron",
        "Skip": "outcomes",
        "Snooze": "outcomes",
        "Stage": "dev.demo",
        "Standing": "declare.reconciler",
        "Unavailable": "outcomes",
        "UsageError": "errors",
        "command": "declare.registry",
        "demo": "declare.registry",
        "diagnosis": "declare.registry",
        "endpoint": "declare.registry",
        "error_line": "telemetry.error_line",
        "every": "declare.registry",
        "on": "declare.registry",
        "readiness": "declare.registry",
        "reads": "declare.registry",
        "reconcile": "operate.reconcile",
        "reconciler": "declare.registry",
        "resource": "declare.registry",
        "stand_in": "declare.registry",
    }

    def __getattr__(name):
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value


__all__ = [
    "Actor",
    "Change",
    "CheckFailed",
    "ConfigurationError",
    "Connection",
    "Context",
    "Database",
    "Drift",
    "Outcome",
    "Park",
    "Planned",
    "RateLimit",
    "RequestRefused",
    "Retry",
    "Schedule",
    "Skip",
    "Snooze",
    "Stage",
    "Standing",
    "Unavailable",
    "UsageError",
    "command",
    "demo",
    "diagnosis",
    "endpoint",
    "error_line",
    "every",
    "on",
    "readiness",
    "reads",
    "reconcile",
    "reconciler",
    "resource",
    "stand_in",
]
