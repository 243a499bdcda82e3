"""An endpoint for the commands `job` and `runs` and for worker processes (HEARKEN_HANDLERS)."""

from __future__ import annotations

import asyncio
import os

from pydantic import BaseModel, ConfigDict, Field

from worker import Change, Context, Park, endpoint, every


class Count(BaseModel):
    """How far to count."""

    model_config = ConfigDict(extra="forbid")

    to: int = Field(ge=0)
    then: str = "succeed"


@endpoint("count", path="/count", body=Count, alone=True, rate=100_000)
async def count(change: Change, ctx: Context) -> dict[str, int]:
    """Count, and say how far it is."""
    asked = Count.model_validate(change.new)
    for number in range(asked.to):
        await ctx.progress(change, number + 1, asked.to, "counting")
    if asked.then == "fail":
        raise Park("told to")
    if asked.then == "hang" or "COUNT_HANGS" in os.environ:
        await asyncio.Event().wait()
    return {"counted": asked.to}


@every("0 2 * * *")
async def nightly(change: Change, ctx: Context) -> str | None:
    """Say when it was due."""
    return None if change.new is None else str(change.new["due"])
