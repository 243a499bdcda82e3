"""Promise: `UPDATE spaces SET is_active = false` by mistake does not archive a catalogue at Stripe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from handlers.spaces import sync_space
from handlers.stripe import stripe
from tests.support.brakes import ANNA
from tests.support.shop import Shop, open_shop
from worker.operate.handlers import confirm_brake
from worker.testing import Bench, bench

SPACES = 25


@dataclass
class Whole:
    """The engine over a table of spaces that are all at Stripe."""

    bench: Bench
    shop: Shop

    async def run(self, statement: str) -> None:
        """Run it, and then the handler."""
        self.shop.server.calls.clear()
        await self.bench.execute(statement)
        await self.bench.drain()

    async def confirm(self) -> None:
        await confirm_brake(self.bench.connection, "sync_space", ANNA)
        await self.bench.drain()


@pytest.fixture
async def whole(database_url: str) -> AsyncIterator[Whole]:
    async with (
        open_shop(database_url) as shop,
        bench(database_url, sync_space, resources={stripe: shop.client}) as stage,
    ):
        under_test = Whole(stage, shop)
        await under_test.run(
            f"insert into spaces (name, price_per_hour) select 'Space ' || i, 20 from generate_series(1, {SPACES}) i"
        )
        assert len(shop.products()) == SPACES
        yield under_test


async def test_a_mistake_that_is_mended_writes_nothing(whole: Whole) -> None:
    """The whole way back: stopped before the first call, rows set right, confirmed, and nothing was archived."""
    await whole.run("update spaces set is_active = false")
    assert whole.shop.writes() == []
    await whole.run("update spaces set is_active = true")
    assert len(whole.shop.server.calls) == 0
    await whole.confirm()
    assert (len(whole.shop.products()), whole.shop.writes()) == (SPACES, [])
    assert len(whole.shop.server.calls) > 0
    assert await whole.bench.parked() == []


async def test_what_is_meant_is_done_when_confirmed(whole: Whole) -> None:
    """Then every product is archived, and the handler goes on as before."""
    await whole.run("update spaces set is_active = false")
    await whole.confirm()
    assert (len(whole.shop.products()), len(whole.shop.products(active=False))) == (0, SPACES)
    await whole.run("update spaces set is_active = true where id = 1")
    assert len(whole.shop.products()) == 1


async def test_a_mistake_mended_before_it_was_read_stops_nothing(whole: Whole) -> None:
    """Both statements in one window, as when the worker was away meanwhile."""
    await whole.bench.execute("update spaces set is_active = false")
    await whole.run("update spaces set is_active = true, name = name || '!'")
    assert {product["name"][-1] for product in whole.shop.products()} == {"!"}
