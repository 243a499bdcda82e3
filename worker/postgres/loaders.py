"""Values that Python cannot hold: read as the text that Postgres writes, so that their row is readable all the same.

A timestamp may be infinity, the year 20000 or before Christ, a time 24:00, a JSON document nested ten thousand deep or
a number of five thousand digits. psycopg raises for one such value of a row, and the whole row is lost to whoever only
wants another column. All other values keep their types.
https://www.psycopg.org/psycopg3/docs/basic/adapt.html
"""

from __future__ import annotations

from typing import Any

from psycopg import DataError, NotSupportedError, adapters
from psycopg.abc import AdaptContext, Buffer, Loader
from psycopg.adapt import Loader as BaseLoader
from psycopg.pq import Format

TYPES = ("date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb", "inet", "cidr")


def register_lenient(context: AdaptContext) -> None:
    """Let a connection (or anything that adapts) read what Python cannot hold as text."""
    for name, loader in _LENIENT.items():
        context.adapters.register_loader(name, loader)


def _lenient(strict: type[Loader]) -> type[BaseLoader]:
    class Lenient(BaseLoader):
        """The type's own loader, and for what it does not take the text."""

        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._strict = strict(oid, context).load

        def load(self, data: Buffer) -> Any:
            try:
                return self._strict(data)
            except (ValueError, OverflowError, RecursionError, DataError, NotSupportedError):
                return bytes(data).decode(errors="replace")

    return Lenient


def _strict_of(name: str) -> type[Loader]:
    loader = adapters.get_loader(adapters.types[name].oid, Format.TEXT)
    assert loader is not None  # noqa: S101  # psycopg brings one for each of these
    return loader


_LENIENT = {name: _lenient(_strict_of(name)) for name in TYPES}
