"""The account guard: a database belongs to one Stripe account in one mode, from the first contact on.

Product and price ids in rows mean nothing in another account, and a test catalogue must never be written with
a live key. So `client` asks here once per process, before its first call, and lets nothing through until the
answer is yes.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, LiteralString, Protocol

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from handlers.stripe.errors import Denied
from handlers.stripe.settings import Mode

_REMEMBER: LiteralString = """
    insert into hearken.stripe_account (account, mode) values (%s, %s) on conflict do nothing
"""
_RECALL: LiteralString = "select account, mode from hearken.stripe_account"


class Connections(Protocol):
    """Where a connection comes from: the engine's database. read_only: nothing may be written there or at Stripe."""

    read_only: bool

    def connection(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]: ...


async def claim(database: Connections, account: str, mode: Mode) -> None:
    """Remember that this database belongs to `account` in `mode`; raise Denied if it belongs to another.

    Two processes may make first contact at once: the row is inserted once, and both compare with it.
    """
    async with database.connection() as connection:
        if not database.read_only:
            await connection.execute(_REMEMBER, (account, mode))
        cursor = connection.cursor(row_factory=tuple_row)
        owner = await (await cursor.execute(_RECALL)).fetchone()
    if owner is None and database.read_only:
        return
    if owner is None:
        raise Denied("hearken.stripe_account was emptied just now: try again")
    if owner != (account, mode):
        theirs, ours = f"{owner[0]} ({owner[1]} mode)", f"{account} ({mode} mode)"
        raise Denied(
            f"this database belongs to Stripe account {theirs}, but STRIPE_SECRET_KEY is for {ours}. "
            f"Set a key of {theirs} and restart; or, to move the catalogue to {ours}, "
            "empty the table hearken.stripe_account"
        )
