"""Promise: however many callers there are, a destination is never asked more often than its limit allows."""

from __future__ import annotations

import asyncio

from worker.rate_limit import RateLimit


async def test_a_crowd_is_let_through_evenly() -> None:
    """The nth caller passes no earlier than n gaps after the first, but for a small burst at the start."""
    loop, pace, rate = asyncio.get_running_loop(), RateLimit(500), 500
    passed: list[float] = []

    async def caller() -> None:
        await pace.turn()
        passed.append(loop.time())

    start = loop.time()
    await asyncio.gather(*(caller() for _ in range(100)))
    for n, moment in enumerate(passed):
        assert moment >= start - 0.05 + n / rate - 0.001


async def test_a_pause_that_was_asked_for_holds_everyone_back() -> None:
    """After `hold`, the next caller passes when it is over."""
    loop, pace = asyncio.get_running_loop(), RateLimit(1000)
    start = loop.time()
    pace.hold(0.1)
    await asyncio.gather(*(pace.turn() for _ in range(3)))
    assert loop.time() - start >= 0.1
