"""Promise: the seed's own three statements, committed by an application, end in Stripe's catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from handlers.spaces import sync_space
from handlers.stripe import stripe
from tests.support.shop import Shop, open_shop
from worker.operate.audit import Actor
from worker.operate.handlers import confirm_brake
from worker.testing import Bench, bench

INSERT = """
    INSERT INTO spaces (name, description, capacity, price_per_hour, is_active)
    VALUES ('Test Space', 'Espace de test pour Stripe', 10, 25.00, true)
"""
UPDATE = "UPDATE spaces SET price_per_hour = 30.00, name = 'Test Space Updated' WHERE name = 'Test Space'"
DELETE = "DELETE FROM spaces WHERE name = 'Test Space Updated'"


@dataclass
class Whole:
    """The engine over a table, and the Stripe at its end."""

    bench: Bench
    shop: Shop


@pytest.fixture
async def whole(database_url: str) -> AsyncIterator[Whole]:
    """Capture and delivery for real, from a commit to the local Stripe."""
    async with (
        open_shop(database_url) as shop,
        bench(database_url, sync_space, resources={stripe: shop.client}) as under_test,
    ):
        yield Whole(under_test, shop)


async def test_the_seeds_three_statements(whole: Whole) -> None:
    """INSERT, UPDATE and DELETE: created, changed, archived; one product all along, nothing parked."""
    await whole.bench.execute(INSERT)
    await whole.bench.drain()
    assert [(p["unit_amount"], p["currency"]) for p in whole.shop.prices()] == [(2500, "eur")]
    await whole.bench.execute(UPDATE)
    await whole.bench.drain()
    assert [(p["unit_amount"], p["currency"]) for p in whole.shop.prices()] == [(3000, "eur")]
    assert [p["name"] for p in whole.shop.products()] == ["Test Space Updated"]
    await whole.bench.execute(DELETE)
    await whole.bench.drain()
    assert whole.shop.products() == []
    assert len(whole.shop.products(active=False)) == 1
    assert await whole.bench.parked() == []


async def test_the_handlers_own_writes_make_no_events(whole: Whole) -> None:
    """The ids are watched, yet writing them back does not call the handler again."""
    await whole.bench.execute(INSERT)
    await whole.bench.drain()
    (row,) = await whole.bench.execute("select * from spaces")
    assert row["stripe_product_id"] == f"space_{row['id']}"
    whole.shop.server.calls.clear()
    await whole.bench.drain()
    assert len(whole.shop.server.calls) == 0


async def test_ids_wiped_by_hand_come_back(whole: Whole) -> None:
    """A change of nothing but the ids is an event, and is mended from what Stripe has."""
    await whole.bench.execute(INSERT)
    await whole.bench.drain()
    before = await whole.bench.execute("select stripe_product_id, stripe_price_id from spaces")
    await whole.bench.execute("update spaces set stripe_product_id = null, stripe_price_id = null")
    whole.shop.server.calls.clear()
    await whole.bench.drain()
    assert await whole.bench.execute("select stripe_product_id, stripe_price_id from spaces") == before
    assert whole.shop.writes() == []


async def test_a_row_that_does_not_fit_is_dead_and_its_correction_replaces_it(whole: Whole) -> None:
    """The reason names the column; correcting the row is all that a person has to do."""
    await whole.bench.execute(INSERT)
    await whole.bench.execute("update spaces set price_per_hour = 25.005")
    await whole.bench.drain()
    (parked,) = await whole.bench.parked()
    assert parked["state"] == "dead"
    assert "price_per_hour would have to be rounded" in parked["reason"]
    assert whole.shop.products() == []
    await whole.bench.execute("update spaces set price_per_hour = 25")
    await whole.bench.drain()
    assert [p["unit_amount"] for p in whole.shop.prices()] == [2500]
    assert await whole.bench.parked() == []


async def test_a_space_deleted_before_it_was_ever_seen_leaves_no_trace(whole: Whole) -> None:
    """INSERT and DELETE while the worker was away: nothing is made only to be archived."""
    await whole.bench.execute(INSERT)
    await whole.bench.execute("delete from spaces")
    await whole.bench.drain()
    assert whole.shop.writes() == []


async def test_a_truncated_table_is_dead_with_a_reason(whole: Whole) -> None:
    """TRUNCATE is one event: it stops the handler, and confirmed it is not passed over in silence."""
    await whole.bench.execute(INSERT)
    await whole.bench.drain()
    await whole.bench.execute("truncate spaces")
    await whole.bench.drain()
    assert await whole.bench.parked() == []
    await confirm_brake(whole.bench.connection, "sync_space", Actor("test"))
    await whole.bench.drain()
    (parked,) = await whole.bench.parked()
    assert (parked["state"], "truncated" in parked["reason"]) == ("dead", True)


async def test_a_denied_key_burns_no_attempt(whole: Whole) -> None:
    """401 is an alarm: the event waits as it is, and is delivered when the key works again."""
    server = whole.shop.server
    server.fault("unauthorized", times=None)
    await whole.bench.execute(INSERT)
    await whole.bench.drain()
    (parked,) = await whole.bench.parked()
    assert (parked["state"], parked["attempt"]) == ("due", 0)
    assert "STRIPE_SECRET_KEY" in parked["reason"]
