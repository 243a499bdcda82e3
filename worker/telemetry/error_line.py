"""What went wrong, in one line that may stand in a log or a health check: no row's values, no traceback.

An exception's own text is only trusted where it is known what is in it: the engine's errors are written for
operators, a lost connection names hosts. The server quotes rows in some of its messages, and an unknown exception may
hold anything.
"""

from __future__ import annotations

import psycopg

from worker.errors import HearkenError

# Data exceptions, violated constraints, and what triggers of others raise: their messages quote values.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
QUOTING = ("22", "23", "P0")


def error_line(error: BaseException) -> str:
    """One line about `error`."""
    name = type(error).__name__
    if isinstance(error, HearkenError):
        return _one_line(str(error))
    if isinstance(error, psycopg.Error):
        text = _of_server(error) if error.sqlstate else str(error)
        return f"{name}: {_one_line(text)}" if text else name
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.strerror}"
    return name


def trace_of(error: BaseException | None) -> BaseException | None:
    """For a logger's `exc_info`: the error, when `error_line` says no more than its class."""
    return None if isinstance(error, (HearkenError, psycopg.Error, OSError)) else error


def _of_server(error: psycopg.Error) -> str:
    """The server's message without its DETAIL; where the message itself quotes values, only what it is about."""
    if not str(error.sqlstate).startswith(QUOTING):
        return error.diag.message_primary or ""
    parts = {"constraint": error.diag.constraint_name, "table": error.diag.table_name, "column": error.diag.column_name}
    return ", ".join(f"{part} {name}" for part, name in parts.items() if name)


def _one_line(text: str) -> str:
    return " ".join(text.split())
