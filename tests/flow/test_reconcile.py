"""Promise: drift is what nothing on its way will mend; what is sent to the handler is mended, and sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from handlers.spaces import sync_space
from handlers.stripe import stripe
from tests.support.filling import telling
from tests.support.local_stripe import sdk
from tests.support.shop import Shop, open_shop
from worker import Change, Context, Drift
from worker.declare.reconciler import Reconciler
from worker.declare.registry import Registry, registry
from worker.errors import CheckFailed, InProgress
from worker.operate.audit import Actor
from worker.operate.reconcile import Reconciled, reconcile
from worker.testing import Bench, bench

SENT = "select key, target from hearken.events where op = 'snapshot' order by id"
MANY = "insert into spaces (name, price_per_hour) select 'S' || i, 25 from generate_series(1, 8) i"


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """A shop over a database."""
    async with open_shop(database_url) as opened:
        yield opened


@pytest.fixture
async def stage(database_url: str, shop: Shop) -> AsyncIterator[Bench]:
    """The engine over that database, with eight spaces that agree with Stripe."""
    async with bench(database_url, sync_space, resources={stripe: shop.client}) as opened:
        await opened.execute(MANY)
        await opened.drain()
        yield opened


async def look(shop: Shop, declared: Registry = registry) -> Reconciled:
    return await reconcile("spaces", shop.context, declared=declared)


async def mend(shop: Shop, rate: float | None = None) -> Reconciled:
    return await reconcile("spaces", shop.context, mend=Actor("anna@desk"), rate=rate)


async def drift_all(shop: Shop) -> None:
    """Change every product by hand."""
    async with sdk(shop.server) as api:
        for key in range(1, 9):
            await api.products.update_async(f"space_{key}", {"name": "By hand"})


async def test_what_is_not_delivered_yet_is_in_flight(shop: Shop, stage: Bench) -> None:
    """A change whose event waits is no drift; one that has no event is."""
    await stage.execute("update spaces set name = 'New' where id = 1")
    async with sdk(shop.server) as api:
        await api.products.update_async("space_2", {"name": "By hand"})
    found = await look(shop)
    assert ([(d.key, d.kind) for d in found.drift], found.in_flight) == ([("2", "name")], ["1"])
    await stage.drain()
    found = await look(shop)
    assert ([(d.key, d.kind) for d in found.drift], found.in_flight) == ([("2", "name")], [])


async def test_what_was_delivered_while_it_was_compared_is_no_drift(shop: Shop, stage: Bench) -> None:
    """Stripe was read before the row changed: the difference was on its way."""

    async def slow(ctx: Context) -> AsyncGenerator[Drift, None]:
        await stage.execute("update spaces set name = 'New' where id = 1")
        await stage.drain()
        yield Drift(kind="name", key="1")
        yield Drift(kind="name", key="2")

    declared = Registry()
    declared.handlers = registry.handlers
    look_at = registry.reconcilers["spaces"].look
    declared.reconcilers["spaces"] = Reconciler("spaces", "sync_space", slow, look_at)
    found = await look(shop, declared)
    assert ([d.key for d in found.drift], found.in_flight) == (["2"], ["1"])


async def test_put_aside_to_be_tried_again_is_in_flight_and_dead_is_not(shop: Shop, stage: Bench) -> None:
    """A dead event will not come by itself: its key is drift."""
    shop.server.fault("unauthorized", times=None)
    await stage.execute("update spaces set name = 'New' where id = 1")
    await stage.drain()
    shop.server.clear_faults()
    await stage.execute("update spaces set price_per_hour = 25.001 where id = 2")
    found = await look(shop)
    assert (found.drift, found.in_flight) == ([], ["1", "2"])
    await stage.execute("update hearken.parked set state = 'dead'")
    found = await look(shop)
    assert [(d.key, d.kind) for d in found.drift] == [("1", "name")]


async def test_what_is_sent_is_mended(shop: Shop, stage: Bench) -> None:
    """Every row's drift, and that of a row which is gone; one event for each key, for this handler alone."""
    await drift_all(shop)
    async with sdk(shop.server) as api:
        lost = {"name": "Lost", "id": "lost", "metadata": {"space_id": "99", "type": "coworking_space"}}
        await api.products.create_async(lost)  # type: ignore[arg-type]  # from a dict
    found = await mend(shop)
    assert (sorted(found.sent, key=int), found.left) == ([*map(str, range(1, 9)), "99"], [])
    assert sorted((e["key"], *e["target"]) for e in await stage.execute(SENT)) == sorted(
        (key, "sync_space") for key in found.sent
    )
    again = await mend(shop)
    assert (again.drift, again.sent, len(again.in_flight)) == ([], [], 9), "sent once"
    await stage.drain()
    after = await look(shop)
    assert (after.drift, after.in_flight) == ([], [])
    assert [p["id"] for p in shop.products(active=False)] == ["lost"]


async def test_a_key_that_cannot_be_is_not_sent(shop: Shop, stage: Bench) -> None:
    """Whatever stands in a product's metadata: the others are sent all the same."""
    await drift_all(shop)
    async with sdk(shop.server) as api:
        await api.products.create_async({"name": "Odd", "metadata": {"space_id": "no number"}})
    found = await mend(shop)
    assert (len(found.sent), found.unsent, [d.key for d in found.left]) == (8, ["no number"], ["no number"])


async def test_stopped_in_the_middle_and_run_again(shop: Shop, stage: Bench, database_url: str) -> None:
    """What was sent before is in flight or mended by then: in the end each key was sent once."""
    await drift_all(shop)
    async with telling(database_url, "hearken.events") as told:
        running = asyncio.create_task(mend(shop, rate=3))
        await told()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    first = len(await stage.execute(SENT))
    assert 0 < first < 8
    await mend(shop)
    assert sorted(e["key"] for e in await stage.execute(SENT)) == [str(key) for key in range(1, 9)]


async def test_two_at_once(shop: Shop, stage: Bench, database_url: str) -> None:
    """Only one mends; looking is free."""
    await drift_all(shop)
    async with telling(database_url, "hearken.events") as told:
        running = asyncio.create_task(mend(shop, rate=3))
        await told()
    with pytest.raises(InProgress):
        await mend(shop)
    await look(shop)
    await running
    assert len(await stage.execute(SENT)) == 8


async def test_a_row_that_a_writer_holds_is_left_for_later(shop: Shop, stage: Bench, database_url: str) -> None:
    """It has an event of its own soon, or is found again."""
    await drift_all(shop)
    async with shop.database.connection() as other, other.transaction():
        await other.execute("select from spaces where id = 3 for update")
        found = await mend(shop)
    assert (len(found.sent), found.unsent) == (7, ["3"])


async def test_a_destination_that_is_away_is_said(shop: Shop, stage: Bench) -> None:
    """Nothing is concluded from half a catalogue."""
    shop.server.fault("unauthorized", times=None)
    with pytest.raises(CheckFailed, match="STRIPE_SECRET_KEY"):
        await look(shop)


async def test_a_schedule_can_do_it(shop: Shop, stage: Bench, database_url: str) -> None:
    """A tick finds the drift and sends it; the handler mends it."""
    declared = Registry()
    declared.handlers = dict(registry.handlers)

    @declared.every("30 4 * * *")
    async def reconcile_nightly(change: Change, ctx: Context) -> None:
        await reconcile("spaces", ctx, mend=Actor(ctx.handler))

    await drift_all(shop)
    resources = {stripe: shop.client}
    async with bench(database_url, sync_space, reconcile_nightly, resources=resources, declared=declared) as scheduled:
        await scheduled.tick("reconcile_nightly")
        await scheduled.drain()
        assert await scheduled.parked() == []
    assert {p["name"] for p in shop.products()} == {f"S{key}" for key in range(1, 9)}
    assert len(await stage.execute(SENT)) == 8
