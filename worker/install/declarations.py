"""What a handler's cursors mean is stored: from then on workers of code that declares it otherwise step aside."""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from worker.declare.declaration import declaration_of
from worker.declare.handler import Handler

DECLARE: LiteralString = """
insert into hearken.declarations (handler, declaration) values (%(name)s, %(declaration)s)
on conflict (handler) do update set declaration = excluded.declaration, declared_at = now()
"""
# A batch that was read under the former declaration must not settle any more: the cursor is no longer what it read.
UNSETTLE: LiteralString = "update hearken.cursors set seq = seq + 1 where handler = %(name)s"


async def store_declaration(connection: AsyncConnection[Any], handler: Handler, *, moving: bool = False) -> None:
    """In the caller's transaction, which keeps the handler's cursors from being moved.

    moving  it is on its way to its topic: workers of every code step aside
    """
    declaration = declaration_of(handler)
    if moving:
        declaration["topic"] = f"on its way to {handler.topic}"
    values = {"name": handler.name, "declaration": Jsonb(declaration)}
    await connection.execute(DECLARE, values)
    await connection.execute(UNSETTLE, values)
