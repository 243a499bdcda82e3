"""Handlers over tables of the tests' own, for commands that run as programs: HEARKEN_HANDLERS names this module.

They write down what they are given, so that a test sees each delivery.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from worker import Change, Context, Park, on

TABLES: LiteralString = """
create table rooms (id integer primary key, name text, price numeric);
create table deliveries (event_id bigint, handler text, key text, replay_of bigint)
"""
WRITE: LiteralString = "insert into deliveries (event_id, handler, key, replay_of) values (%s, %s, %s, %s)"


@on("public.rooms", transactional=True)
async def note_room(changes: Sequence[Change], ctx: Context) -> None:
    """Write every delivery down."""
    for change in changes:
        await ctx.transaction.execute(WRITE, (change.id, ctx.handler, change.key, change.replay_of))


@on("public.rooms", watch=("price",), ops=("insert", "update"))
async def price_room(change: Change, ctx: Context) -> None:
    """Refuse what is called 'bad', write down the rest."""
    if change.new is not None and change.new["name"] == "bad":
        raise Park("a room must not be called that")
    async with ctx.connection() as connection:
        await connection.execute(WRITE, (change.id, ctx.handler, change.key, change.replay_of))
