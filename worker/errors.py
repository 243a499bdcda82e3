"""Every error the engine raises itself; what a handler raises is in `outcomes`.

    HearkenError
    ├── ConfigurationError     settings are missing or wrong: nothing was started
    ├── DeclarationError       a handler is declared in a way that cannot work
    ├── DatabaseError
    │   ├── NotMigrated        the schema, a trigger or a cursor is missing: run `hearken migrate`
    │   ├── MigrationError     a migration cannot be applied as it stands
    │   ├── WatchError         a table cannot be watched as declared
    │   ├── DeclaredOtherwise  a cursor is another version's: its handler is declared otherwise there
    │   ├── ForeignCursor      a cursor was written by another cluster (a restored dump)
    │   ├── NotAllowed         the role of DATABASE_URL lacks rights: the message holds the GRANTs
    │   │   └── RowsHidden     a policy would hide rows of a table from the role: absence would be taken as fact
    │   ├── ConnectionLost     a connection of the engine's was lost, or none could be had: no handler's fault
    │   └── Unsupported        this server cannot carry the log (too old, read-only, a pooler)
    ├── ClaimLost              another worker moved the cursor; this batch is rolled back
    ├── DeliveryLost           another worker has taken over what a handler is working on here
    ├── Braked                 a paused handler would take much away: fix the rows, or confirm
    ├── Overtaken              somebody else was quicker: it is done already, or no longer needed
    ├── InProgress             another process is doing the same work, which must not be done twice
    │   └── AlreadyRunning     another run is in progress, and only one may be
    ├── CheckFailed            a readiness check: what is wrong and what to do
    ├── RequestRefused         an HTTP request is answered with a status and what is wrong with it
    ├── KeyTaken               an Idempotency-Key was used before, for something else
    └── UsageError             a command was given something that does not exist or does not fit

The message of each is what an operator reads: what happened, on what, and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg


class HearkenError(Exception):
    """The root of the engine's own errors."""


class ConfigurationError(HearkenError):
    """One or more settings are missing or wrong; the message names all of them."""


class DeclarationError(HearkenError):
    """A handler's declaration contradicts itself or another one."""


class DatabaseError(HearkenError):
    """The database is reachable but not as the engine needs it."""


class NotMigrated(DatabaseError):
    """The database lacks something that `hearken migrate` creates."""


class MigrationError(DatabaseError):
    """A migration file was edited after it was applied, is missing, or failed."""


class WatchError(DatabaseError):
    """A declared table, column or primary key does not exist."""


class DeclaredOtherwise(DatabaseError):
    """The handler's cursor was last migrated by code that declares it otherwise; this worker leaves it alone."""


class ForeignCursor(DatabaseError):
    """The cursor is ahead of this cluster's transactions: the database was restored from a dump."""


class NotAllowed(DatabaseError):
    """The role may not read the log, move its cursors, or park what failed."""


class RowsHidden(NotAllowed, psycopg.errors.InsufficientPrivilege):
    """Row-level security would hide rows, which would pass for deleted ones: the server refused to answer."""

    REMEDY = (
        "a worker must see every row: give its role `alter role … bypassrls`, or make it a member of the table's owner"
        " (`hearken doctor` has the statements)"
    )


class ConnectionLost(DatabaseError, psycopg.OperationalError):
    """The server or the network ended a connection that the engine had made, or gave none in time."""


class Unsupported(DatabaseError):
    """The server is too old, a read replica, or behind a pooler that shares its connections."""


class ClaimLost(HearkenError):
    """The cursor is not as it was read; someone else settled. Nothing of this batch is kept."""


class DeliveryLost(HearkenError):
    """This worker was taken for gone, and another delivers the event now; nothing more is written outside from here."""


class Braked(HearkenError):
    """The brake has stopped the handler, and only a person can resume it."""


class Overtaken(HearkenError):
    """What a command should act on is no longer as it was: another operator, or a newer event, was quicker."""


class InProgress(HearkenError):
    """Another process is already doing exactly this work: wait for it, or stop it."""


class AlreadyRunning(InProgress):
    """A run of this endpoint, the event `event_id`, is in progress, and only one may be."""

    def __init__(self, event_id: int, message: str) -> None:
        super().__init__(message)
        self.event_id = event_id


class CheckFailed(HearkenError):
    """A readiness check did not pass."""


class RequestRefused(HearkenError):
    """Answered as JSON with this status: {"error": the message, …details}."""

    def __init__(
        self,
        status: int,
        error: str,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.headers = dict(headers or {})
        self.details = dict(details or {})


class KeyTaken(HearkenError):
    """The same Idempotency-Key came with another body."""


class UsageError(HearkenError):
    """A command's argument names something unknown or impossible."""
