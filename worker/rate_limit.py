"""The rate limit of requests to one destination: shared by all its callers, just below the client of an outside system.

Every caller gets the next free slot, one gap after the one before. So a queue is served at exactly the
limit, however late the event loop wakes each caller, and a burst after a pause is a few requests long.
"""

from __future__ import annotations

import asyncio


class RateLimit:
    """Lets through `rate` callers a second, evenly; after a pause, at most `rate / 20` of them at once."""

    _BURST = 0.05

    def __init__(self, rate: float) -> None:
        self._gap = 1 / rate
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for a slot. A caller that is cancelled while it waits leaves its slot unused."""
        now = asyncio.get_running_loop().time()
        moment = max(self._next, now - self._BURST)
        self._next = moment + self._gap
        if moment > now:
            await asyncio.sleep(moment - now)

    def hold(self, seconds: float) -> None:
        """Let nobody new through for `seconds`: the destination has asked for it."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)
