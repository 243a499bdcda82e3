"""Handlers that fail in every careless way, with what the row holds in hand: for the test that nothing of it is logged.

Over `public.things`; run as a program (HEARKEN_HANDLERS=tests.support.leaky).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

import structlog

from worker import Change, Context, Unavailable, on

left_behind: set[asyncio.Task[None]] = set()


def _name(change: Change) -> str:
    return str((change.new or {})["name"])


@on("public.things", attempts=1)
async def raises(change: Change, ctx: Context) -> None:
    """An exception whose text is the row's, caused by another."""
    try:
        os.environ[_name(change)]
    except KeyError as error:
        raise RuntimeError(f"cannot take {_name(change)}") from error


@on("public.things", attempts=1)
async def logs(change: Change, ctx: Context) -> None:
    """Lines of its own, with the exception in hand."""
    ctx.log.debug("row", name=_name(change))
    logging.getLogger("leaky").debug("row %s", _name(change))
    try:
        int(_name(change))
    except ValueError:
        structlog.get_logger("leaky").exception("not a number")
        logging.getLogger("leaky").exception("not a number either")


@on("public.things")
async def leaves(change: Change, ctx: Context) -> None:
    """A task that fails when nobody looks any more: asyncio says so."""

    async def fail() -> None:
        raise ValueError(_name(change))

    left_behind.add(task := asyncio.create_task(fail()))
    await asyncio.wait([task])
    left_behind.clear()


@on("public.things", attempts=1, transactional=True)
async def violates(changes: Sequence[Change], ctx: Context) -> None:
    """A constraint, whose violation quotes the row."""
    for change in changes:
        await ctx.transaction.execute("insert into twins values (%s), (%s)", (_name(change), _name(change)))


@on("public.things", attempts=1)
async def away(change: Change, ctx: Context) -> None:
    """A destination that is down, with the answer of the outside system as its cause."""
    raise Unavailable("down", alarm=True) from ConnectionError(_name(change))
