"""Promise: a preview says what the handler would then really do, and nothing can be written while it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from handlers.spaces import sync_space
from handlers.stripe import Stripe, stripe
from tests.support.shop import FAST, Shop, open_shop, stripe_settings
from worker import Change, Context
from worker.capture.catalog import read_table
from worker.declare.handler import Handler, Subscription
from worker.declare.registry import registry
from worker.deliver.context import Services
from worker.operate.preview import Preview, preview
from worker.postgres.database import Database
from worker.settings import Settings
from worker.testing import Bench, bench

TOPIC = "public.spaces"
STATE = (
    "select (select count(*) from hearken.effects) as effects, (select count(*) from hearken.stripe_account) as owner"
)
DONE = """
select e.key, f.step, f.object_id, f.changed from hearken.effects f join hearken.events e on e.id = f.event_id
where f.event_id > %s order by f.id
"""
NEWEST = "select max(id) as id from hearken.events where topic = 'public.spaces' group by key order by 1"


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """A shop over a database."""
    async with open_shop(database_url) as opened:
        yield opened


@pytest.fixture
async def stage(database_url: str, shop: Shop) -> AsyncIterator[Bench]:
    """The engine over that database, delivering to the shop."""
    async with bench(database_url, sync_space, resources={stripe: shop.client}) as opened:
        yield opened


@asynccontextmanager
async def planning(url: str, shop: Shop) -> AsyncIterator[Services]:
    """What a preview is given: a read-only database, and a client of Stripe over it."""
    database = Database(Settings.model_validate({"DATABASE_URL": url}), read_only=True)
    await database.open()
    client = Stripe(stripe_settings(shop.server), database, first_wait=FAST)
    try:
        async with database.connection() as connection:
            table = await read_table(connection, TOPIC)
        yield Services(database, {stripe: client}, {TOPIC: table})
    finally:
        await client.close()
        await database.close()


async def look(url: str, shop: Shop, stage: Bench, handler: Handler | None = None) -> list[Preview]:
    """Preview the newest event of each key; nothing is written at Stripe or in the database."""
    ids = [row["id"] for row in await stage.execute(NEWEST)]
    before = await stage.execute(STATE)
    shop.server.calls.clear()
    async with planning(url, shop) as services:
        told = [one async for one in preview(handler or registry.handlers["sync_space"], TOPIC, ids, services)]
    assert shop.writes() == []
    assert await stage.execute(STATE) == before
    return told


async def test_what_is_told_is_what_is_then_done(database_url: str, shop: Shop, stage: Bench) -> None:
    """Created, changed in name and price, archived, left alone: step by step, field by field, in the same order."""
    await stage.execute(
        "insert into spaces (name, capacity, price_per_hour) select 'S' || i, i, 20 + i from generate_series(1, 4) i"
    )
    await stage.drain()
    last = (await stage.execute("select max(id) as id from hearken.events"))[0]["id"]
    await stage.execute("insert into spaces (name, description, price_per_hour) values ('New', 'With view', 30.50)")
    await stage.execute("update spaces set name = 'Better', price_per_hour = 99 where id = 1")
    await stage.execute("update spaces set is_active = false where id = 2")
    await stage.execute("delete from spaces where id = 3")
    told = {one.key: one for one in await look(database_url, shop, stage)}
    actions = {key: one.action for key, one in told.items()}
    assert actions == {"1": "update", "2": "archive", "3": "archive", "4": "nothing", "5": "create"}
    await stage.drain()
    done = await stage.execute(DONE, (last,))
    for key, one in told.items():
        assert [_said(e.step, e.changed) for e in one.effects] == [
            _said(row["step"], row["changed"]) for row in done if row["key"] == key
        ]


def _said(step: str, changed: Any) -> Any:
    """A write as it can be compared: the id of a price that is yet to be made is not known before."""
    ids = {"default_price"}
    return step, {name: list(pair) for name, pair in changed.items() if name not in ids}


async def test_the_first_contact_is_not_remembered(database_url: str, shop: Shop, stage: Bench) -> None:
    """Also a database that belongs to no account yet stays as it is."""
    await stage.execute("insert into spaces (name, price_per_hour) values ('New', 30)")
    (one,) = await look(database_url, shop, stage)
    assert (one.action, [e.step for e in one.effects]) == (
        "create", ["product.create", "price.create", "product.default_price"]
    )  # fmt: skip
    assert await stage.execute("select * from hearken.stripe_account") == []


async def test_a_row_that_does_not_fit_would_be_dead(database_url: str, shop: Shop, stage: Bench) -> None:
    """With the reason that the dead event would have."""
    await stage.execute("insert into spaces (name, price_per_hour) values ('Odd', 30.001)")
    (one,) = await look(database_url, shop, stage)
    assert (one.action, "rounded" in (one.reason or "")) == ("dead", True)


async def write_row(change: Change, ctx: Context) -> None:
    """A handler that forgets that it is planning."""
    async with ctx.connection() as connection:
        await connection.execute("update spaces set name = 'mine'")


async def write_outside(change: Change, ctx: Context) -> None:
    """One that begins an effect."""
    async with ctx.effect(change, step="x", params={}):
        raise AssertionError("must not get here")


async def write_at_stripe(change: Change, ctx: Context) -> None:
    """One that goes past the ledger."""
    client = ctx.use(stripe)
    await client.write("product.create", client.api.products.create_async, params={"name": "x"}, key="k")


@pytest.mark.parametrize("function", [write_row, write_outside])
async def test_a_handler_that_forgets_writes_nothing(
    database_url: str, shop: Shop, stage: Bench, function: Any
) -> None:
    """The connection is read-only, and an effect is refused: what it would do is not known."""
    await stage.execute("insert into spaces (name, price_per_hour) values ('New', 30)")
    handler = Handler(name="careless", function=function, subscription=Subscription(TOPIC), fold=True, plans=True)
    (one,) = await look(database_url, shop, stage, handler)
    assert one.action == "unknown"
    assert await stage.execute("select name from spaces") == [{"name": "New"}]


async def test_nor_past_the_ledger(database_url: str, shop: Shop, stage: Bench) -> None:
    """The client of Stripe itself refuses to write over a read-only database."""
    from worker.errors import CheckFailed

    await stage.execute("insert into spaces (name, price_per_hour) values ('New', 30)")
    handler = Handler(
        name="careless", function=write_at_stripe, subscription=Subscription(TOPIC), fold=True, plans=True
    )
    with pytest.raises(CheckFailed, match="preview"):
        await look(database_url, shop, stage, handler)
    assert shop.writes() == []
