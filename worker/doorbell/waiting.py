"""Waiting for a bell or a stop, with a time limit. Every pause in the worker is made here."""

from __future__ import annotations

import asyncio
import math


async def wait_until_set(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, for `seconds` at most (inf: for as long as it takes); returns whether it is set."""
    try:
        async with asyncio.timeout(None if math.isinf(seconds) else max(0.0, seconds)):
            return await event.wait()
    except TimeoutError:
        return event.is_set()
