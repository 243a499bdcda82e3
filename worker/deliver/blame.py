"""Whose fault it is that a batch was rolled back: one event's, or everybody's. For `caution`."""

from __future__ import annotations

import psycopg

from worker.errors import HearkenError

# Classes of SQLSTATE that say something of the server, the connection or the installation, though psycopg has no
# OperationalError for them: invalid transaction state (such as read-only), what triggers of others raise.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
OF_ALL = ("25", "P0")
# The server's limits on one value: a document nested too deeply, a row of a gigabyte.
PROGRAM_LIMIT = "54"


def blames_event(error: BaseException) -> bool:
    """Whether one event may have caused it, so that others get on without that one.

    What the database says of itself (gone, shut down, locked, full, read-only) is waited out, whatever the event.
    """
    state = error.sqlstate or "" if isinstance(error, psycopg.Error) else ""
    if isinstance(error, psycopg.OperationalError):
        return state.startswith(PROGRAM_LIMIT)
    if isinstance(error, (HearkenError, psycopg.InterfaceError, psycopg.ProgrammingError, psycopg.NotSupportedError)):
        return False
    return isinstance(error, Exception) and not state.startswith(OF_ALL)
