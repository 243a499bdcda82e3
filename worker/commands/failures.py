"""From an error to one line and an exit code. Imported only when something has failed."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import errors

from worker.errors import ConfigurationError, DeclarationError, HearkenError, UsageError

NEGATIVE = 1
WRONG = 2


@dataclass(frozen=True)
class Failure:
    """What is printed and what is exited with."""

    message: str
    code: int


def describe_failure(error: Exception) -> Failure | None:
    """The message for an expected failure; None for any other, which is a bug of ours and deserves its traceback."""
    if isinstance(error, (UsageError, ConfigurationError, DeclarationError)):
        return Failure(str(error), WRONG)
    if isinstance(error, HearkenError):
        return Failure(str(error), NEGATIVE)
    if isinstance(error, psycopg.Error) and (said := _of_database(error)) is not None:
        return Failure(said, NEGATIVE)
    return None


def _of_database(error: psycopg.Error) -> str | None:
    said = error.diag.message_primary or "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, (errors.UndefinedTable, errors.InvalidSchemaName)):
        return f"the database is not migrated ({said}): run `hearken migrate`"
    if isinstance(error, errors.InsufficientPrivilege):
        return f"the database role may not do this: {said}; give DATABASE_URL a role that owns the hearken schema"
    if isinstance(error, errors.QueryCanceled):
        return f"the database took too long ({said}): narrow the query, or raise HEARKEN_QUERY_TIMEOUT"
    if isinstance(error, errors.LockNotAvailable):
        return f"could not get a lock in time ({said}): try again"
    if isinstance(error, psycopg.OperationalError):
        return f"the database cannot be reached: {said}"
    return None
