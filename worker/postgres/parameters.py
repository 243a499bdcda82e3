"""Composed queries that are executed with parameters: names and literals in them may hold a percent sign."""

from __future__ import annotations

from psycopg import sql
from psycopg.abc import AdaptContext


class _Escaped(sql.Composable):
    """A name or a literal in which psycopg finds no placeholder."""

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        part: sql.Composable = self._obj
        return part.as_bytes(context).replace(b"%", b"%%")


def with_parameters(query: sql.Composed) -> sql.Composed:
    """The query, to be given to `execute` with parameters.

    psycopg reads the whole text for placeholders: a column named `rate%s` would be taken for one.
    """
    return sql.Composed([_escaped(part) for part in query])


def _escaped(part: sql.Composable) -> sql.Composable:
    if isinstance(part, sql.Composed):
        return with_parameters(part)
    return part if isinstance(part, (sql.SQL, sql.Placeholder)) else _Escaped(part)
