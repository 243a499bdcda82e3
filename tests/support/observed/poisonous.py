"""Handlers of one table, external and transactional: version 13 of a row ends the process that delivers it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tests.support.observed.reporting import reported
from worker import Change, Context, on

POISON = 13


@on("public.things")
async def swallow(change: Change, ctx: Context) -> None:
    """Tell of each event; die of some."""
    async with reported(change, ctx):
        _taste(change)


@on("public.things", transactional=True)
async def swallow_all(changes: Sequence[Change], ctx: Context) -> None:
    """Write each event down; die of some."""
    for change in changes:
        _taste(change)
        await ctx.transaction.execute("insert into swallowed values (%s)", (change.id,))


def _taste(change: Change) -> None:
    if change.new is not None and change.new["version"] == POISON:
        os._exit(1)
