"""The handler of `backlog`: by itself, so that a command that only loads it starts as with any other."""

from __future__ import annotations

import asyncio

from worker import Change, Context, on

first = asyncio.Event()


@on("public.spaces", watch=("capacity",))
async def noting(change: Change, ctx: Context) -> None:
    """Note that something is delivered."""
    first.set()
