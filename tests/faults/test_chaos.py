"""Promises 1 to 3 and 9 by chaos: `bench.chaos`, for as long as one of its epochs takes."""

from __future__ import annotations

import pytest

from bench.chaos.__main__ import run
from bench.chaos.schedule import KINDS, epochs


@pytest.mark.timeout(180)
async def test_a_minute_of_chaos_breaks_no_promise() -> None:
    """Under faults of all kinds nothing is lost, doubled in the ledger, or out of the order of its key."""
    outcome = await run(seed=11, seconds=20)
    assert outcome.violations == []
    assert outcome.recoveries


def test_the_seed_alone_makes_the_schedule() -> None:
    """The same seed gives the same faults at the same times; an hour has every kind."""
    assert list(epochs(7, 60)) == list(epochs(7, 60)) != list(epochs(8, 60))
    assert {fault.kind for epoch in epochs(7, 3600) for fault in epoch.faults} == set(KINDS)
