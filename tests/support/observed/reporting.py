"""The handler's side of `witness.Witness`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker import Change, Context


@asynccontextmanager
async def reported(change: Change, ctx: Context) -> AsyncIterator[None]:
    """Tell the witness of this delivery, wait until it lets us go on, and tell it when we are done.

    Before the handler returns it was heard, so that deliveries that follow one another never seem to overlap.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["WITNESS_PORT"]))
    try:
        writer.write(json.dumps(_facts(change, ctx.handler)).encode() + b"\n")
        await reader.readline()
        yield
        writer.write(b"done\n")
        await reader.readline()
    finally:
        writer.close()


def _facts(change: Change, handler: str) -> dict[str, object]:
    row = change.new or change.old or {}
    return {
        "pid": os.getpid(),
        "handler": handler,
        "event": change.id,
        "key": change.key,
        "op": change.op,
        "version": row.get("version"),
        "attempt": change.attempt,
    }
