"""What `hearken dev --demo` plays of spaces: one is made, changed and deleted, and Stripe follows.

After each statement Stripe is asked what it has, by a client of its own SDK that shares nothing with the handler.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import LiteralString

import stripe as sdk

from handlers.stripe import StripeSettings, stripe
from handlers.stripe.amounts import minor_units
from worker import Stage, demo

INSERT = (
    "INSERT INTO spaces (name, description, capacity, price_per_hour, is_active) "
    "VALUES ('Test Space', 'Espace de test pour Stripe', 10, 25.00, true);"
)
UPDATE = "UPDATE spaces SET price_per_hour = 30.00, name = 'Test Space Updated' WHERE name = 'Test Space';"
DELETE = "DELETE FROM spaces WHERE name = 'Test Space Updated';"

_NUMBER: LiteralString = "select setval(pg_get_serial_sequence('public.spaces', 'id'), %s)"
_IDS: LiteralString = "select stripe_product_id, stripe_price_id from public.spaces where id = %s"


@demo("spaces")
async def play(stage: Stage) -> None:
    """Play the three statements, and look at Stripe after each."""
    settings = stage.use(stripe).settings
    first, second = (f"{minor_units(Decimal(p), settings.currency)} {settings.currency}" for p in ("25.00", "30.00"))
    if "stripe" not in stage.stand_ins:
        # An account that lasts must not get the product of a real space, or of an earlier demo, again.
        await stage.connection.execute(_NUMBER, (int(time.time() * 1000),))
    async with _client(settings) as api:
        key = await _run(stage, INSERT)
        product = f"{settings.prefix}{key}"
        await _expect_sold(stage, api, product, f"'Test Space', active, sold at {first}")
        await _expect_ids(stage, api, product, key)
        await _run(stage, UPDATE)
        await _expect_sold(stage, api, product, f"'Test Space Updated', active, sold at {second}")
        await _expect_ids(stage, api, product, key)
        await _run(stage, DELETE)
        archived = (await api.products.retrieve_async(product)).active is False
        stage.expect(f"{product} at Stripe", "archived" if archived else "still active", "archived")
        history = [_amount(price) for price in await _prices(api, product)]
        stage.expect("its history of prices", ", ".join(history), f"{first}, {second}")


async def _run(stage: Stage, statement: str) -> str | None:
    """Run a statement, wait for the handler; returns the row's key."""
    commit = await stage.run(statement)
    await stage.delivered(commit, "sync_space")
    return commit.events[0].key


async def _expect_sold(stage: Stage, api: sdk.V1Services, product_id: str, wanted: str) -> None:
    product = await api.products.retrieve_async(product_id)
    active = "active" if product.active else "archived"
    prices = [_amount(price) for price in await _prices(api, product_id) if price.active]
    stage.expect(f"{product_id} at Stripe", f"'{product.name}', {active}, sold at {', '.join(prices)}", wanted)


async def _expect_ids(stage: Stage, api: sdk.V1Services, product_id: str, key: str | None) -> None:
    """The row names the product and its default price."""
    product = await api.products.retrieve_async(product_id)
    row = await (await stage.connection.execute(_IDS, (key,))).fetchone()
    ids = ", ".join(str(value) for value in (row or {}).values())
    stage.expect("ids in the row", ids, f"{product_id}, {product.default_price}")


async def _prices(api: sdk.V1Services, product_id: str) -> list[sdk.Price]:
    """All prices of the product, oldest first."""
    return (await api.prices.list_async({"product": product_id, "limit": 100})).data[::-1]


def _amount(price: sdk.Price) -> str:
    return f"{price.unit_amount} {price.currency}"


@asynccontextmanager
async def _client(settings: StripeSettings) -> AsyncIterator[sdk.V1Services]:
    http = sdk.AIOHTTPClient(timeout=settings.timeout)
    key = settings.key.get_secret_value()
    try:
        yield sdk.StripeClient(key, base_addresses={"api": settings.api_base}, http_client=http).v1
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]  # untyped in the SDK
