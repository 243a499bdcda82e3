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
drift     where source and destination disagree; reconcile: find it and mend it
effect    one write to an outside system by a handler, recorded in a ledger
doorbell  the NOTIFY that wakes a sleeping worker; it carries no data
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.change import Change
    from worker.declare.reconciler import Drift, Standing, reconciler
    from worker.declare.registry import diagnosis, endpoint, every, on, readiness, resource
    from worker.deliver.context import Context
    from worker.deliver.plan import Planned
    from worker.errors import CheckFailed
    from worker.operate.reconcile import Mending, reconcile
    from worker.outcomes import Park, Retry, Skip, Snooze, Unavailable
    from worker.postgres.database import Database
else:
    # Imported when first asked for: `hearken --version` must not wait for a database driver.
    _HOMES = {
        "Change": "change",
        "CheckFailed": "errors",
        "Context": "deliver.context",
        "Database": "postgres.database",
        "Drift": "declare.reconciler",
        "Mending": "operate.reconcile",
        "Park": "outcomes",
        "Planned": "deliver.plan",
        "Retry": "outcomes",
        "Skip": "outcomes",
        "Snooze": "outcomes",
        "Standing": "declare.reconciler",
        "Unavailable": "outcomes",
        "diagnosis": "declare.registry",
        "endpoint": "declare.registry",
        "every": "declare.registry",
        "on": "declare.registry",
        "readiness": "declare.registry",
        "reconcile": "operate.reconcile",
        "reconciler": "declare.reconciler",
        "resource": "declare.registry",
    }

    def __getattr__(name):
        from importlib import import_module

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        return value


__version__ = "0.1.0"

__all__ = [
    "Change",
    "CheckFailed",
    "Context",
    "Database",
    "Drift",
    "Mending",
    "Park",
    "Planned",
    "Retry",
    "Skip",
    "Snooze",
    "Standing",
    "Unavailable",
    "diagnosis",
    "endpoint",
    "every",
    "on",
    "readiness",
    "reconcile",
    "reconciler",
    "resource",
]
