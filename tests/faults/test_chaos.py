"""Promises 1 to 3 and 9 by chaos: `bench.chaos`, for as long as one of its epochs takes."""

from __future__ import annotations

import pytest

from bench.chaos.__main__ import run
from bench.chaos.invariants import compare, first_orders
from bench.chaos.schedule import KINDS, epochs


@pytest.mark.timeout(180)
async def test_an_epoch_of_chaos_breaks_no_promise() -> None:
    """Under faults of all kinds nothing is lost, doubled in the ledger, or out of the order of its key."""
    outcome = await run(seed=11, seconds=20)
    assert outcome.violations == []
    assert outcome.recoveries


def test_the_seed_alone_makes_the_schedule() -> None:
    """The same seed gives the same faults at the same times; an hour has every kind."""
    assert list(epochs(7, 60)) == list(epochs(7, 60)) != list(epochs(8, 60))
    assert {fault.kind for epoch in epochs(7, 3600) for fault in epoch.faults} == set(KINDS)


@pytest.mark.parametrize(
    ("versions", "broken"),
    [([1, 2, 3], False), ([1, 1, 2, 1, 3], False), ([1, 3], True), ([1, 2], True), ([2, 1, 3], True)],
    ids=["as committed", "again later", "one is lost", "the last is lost", "out of order"],
)
def test_what_is_lost_or_out_of_order_is_noticed(versions: list[int], broken: bool) -> None:
    """The sink may get an order again; the first of each event must be there, in the order of its key."""
    orders = [{"topic": "t", "key": "k", "op": "update", "version": v, "event": v} for v in versions]
    wanted = {("t", "k"): [("update", 1), ("update", 2), ("update", 3)]}
    assert bool(compare("sink", first_orders(orders), wanted)) == broken
