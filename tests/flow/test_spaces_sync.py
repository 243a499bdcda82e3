"""Promise: after every change of a space, Stripe has one product and one active price that agree with its row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from handlers.spaces import sync_space
from tests.support.shop import Shop, open_shop
from worker.change import Change
from worker.outcomes import Park, Skip


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """A shop on a database of its own."""
    async with open_shop(database_url) as shop:
        yield shop


def only(things: list[dict[str, Any]]) -> dict[str, Any]:
    (thing,) = things
    return thing


async def in_agreement(shop: Shop, key: int, unit_amount: int) -> tuple[str, str]:
    """Check that Stripe has this one space, as its row says; returns the ids."""
    row = await shop.row(key)
    assert row is not None
    product, price = only(shop.products()), only(shop.prices())
    assert (product["name"], product["description"]) == (row["name"], row["description"])
    assert product["metadata"] == {
        "space_id": str(key),
        "capacity": str(row["capacity"]),
        "type": "coworking_space",
    }
    assert product["default_price"] == price["id"]
    assert (price["product"], price["unit_amount"], price["currency"]) == (product["id"], unit_amount, "eur")
    assert (price["type"], price["lookup_key"]) == ("one_time", f"space_{key}")
    assert (row["stripe_product_id"], row["stripe_price_id"]) == (product["id"], price["id"])
    return product["id"], price["id"]


async def test_a_new_space_becomes_a_product_with_one_price(shop: Shop) -> None:
    """INSERT: product with the deterministic id and metadata, price in cents, ids in the row."""
    key = await shop.put()
    await shop.sync(key, "insert")
    product_id, _ = await in_agreement(shop, key, 2500)
    assert product_id == f"space_{key}"


async def test_a_second_run_writes_nothing(shop: Shop) -> None:
    """The same event again: no write at Stripe, and none to the row."""
    key = await shop.put()
    await shop.sync(key)
    async with shop.database.connection() as connection:
        versions = "select xmin::text as version from public.spaces"
        before = await (await connection.execute(versions)).fetchall()
        shop.server.calls.clear()
        await shop.sync(key)
        assert await (await connection.execute(versions)).fetchall() == before
    assert shop.writes() == []


async def test_a_changed_space_is_updated_and_gets_a_new_price(shop: Shop) -> None:
    """UPDATE of name and price: one product still, the new price in the old one's place, the old one archived."""
    key = await shop.put()
    await shop.sync(key)
    _, old_price = await in_agreement(shop, key, 2500)
    await shop.put(key, name="Test Space Updated", price_per_hour="30.00")
    await shop.sync(key)
    _, new_price = await in_agreement(shop, key, 3000)
    assert new_price != old_price
    assert only(shop.prices(active=False))["id"] == old_price


async def test_a_price_may_go_up_and_down_again_within_a_day(shop: Shop) -> None:
    """25 → 30 → 25 → 30 → 25: Stripe's remembered answers to the same requests are never taken for new ones."""
    key = await shop.put()
    for amount in ("25", "30", "25", "30", "25"):
        await shop.put(key, price_per_hour=amount)
        await shop.sync(key)
        await in_agreement(shop, key, int(amount) * 100)


async def test_a_name_may_change_back_and_forth(shop: Shop) -> None:
    """A → B → A → B: the second change to B is made, not answered from memory."""
    key = await shop.put()
    for name in ("A", "B", "A", "B"):
        await shop.put(key, name=name)
        await shop.sync(key)
        await in_agreement(shop, key, 2500)


async def test_a_deleted_space_is_archived_and_keeps_its_history(shop: Shop) -> None:
    """DELETE: the product is archived, nothing is deleted, and a second run writes nothing."""
    key = await shop.put()
    await shop.sync(key)
    row = await shop.remove(key)
    await shop.sync(key, "delete", row)
    assert shop.products() == []
    assert only(shop.products(active=False))["id"] == f"space_{key}"
    shop.server.calls.clear()
    await shop.sync(key, "delete", row)
    assert shop.writes() == []


async def test_a_deleted_space_is_found_without_its_ids(shop: Shop) -> None:
    """A replayed event of a row that is gone knows no ids; the product is found by its deterministic id."""
    key = await shop.put()
    await shop.sync(key)
    await shop.remove(key)
    await shop.sync(key, "update")
    assert shop.products() == []


async def test_an_inactive_space_is_archived_and_comes_back_as_it_was(shop: Shop) -> None:
    """is_active false archives the product alone; true again makes one write, and the price is the same."""
    key = await shop.put()
    await shop.sync(key)
    ids = await in_agreement(shop, key, 2500)
    await shop.put(key, is_active=False)
    await shop.sync(key)
    assert shop.products() == []
    await shop.put(key, is_active=True)
    shop.server.calls.clear()
    await shop.sync(key)
    assert len(shop.writes()) == 1
    assert await in_agreement(shop, key, 2500) == ids


async def test_an_inactive_space_comes_back_with_a_new_price(shop: Shop) -> None:
    """A price that changed while the space was away replaces the old one when it returns."""
    key = await shop.put()
    await shop.sync(key)
    await shop.put(key, is_active=False, price_per_hour="40")
    await shop.sync(key)
    await shop.put(key, is_active=True)
    await shop.sync(key)
    await in_agreement(shop, key, 4000)


async def test_an_inactive_new_space_is_not_listed(shop: Shop) -> None:
    """A space that was never active leaves no trace at Stripe, even with a row that could not be listed."""
    key = await shop.put(is_active=False, price_per_hour=None)
    await shop.sync(key)
    assert shop.writes() == []


async def test_a_row_keeps_the_product_it_came_with(shop: Shop) -> None:
    """A product id that Stripe knows is kept, though it is not the deterministic one."""
    params = {"id": "prod_legacy", "name": "Old", "metadata": {"theirs": "x"}}
    await shop.client.write("product.create", shop.client.api.products.create_async, params=params, key="k")
    key = await shop.put(stripe_product_id="prod_legacy")
    await shop.sync(key)
    product, row = only(shop.products()), await shop.row(key)
    assert row is not None
    assert product["id"] == row["stripe_product_id"] == "prod_legacy"
    assert product["metadata"]["space_id"] == str(key)
    assert product["metadata"]["theirs"] == "x"


@pytest.mark.parametrize("wrong", [None, "", "prod_mistyped"])
@pytest.mark.parametrize("own", ["prod_legacy", None])
async def test_ids_changed_by_hand_are_put_right(shop: Shop, wrong: str | None, own: str | None) -> None:
    """An id that was wiped or mistyped is restored; the space does not get a second product."""
    if own is not None:
        params = {"id": own, "name": "Old"}
        await shop.client.write("product.create", shop.client.api.products.create_async, params=params, key="k")
    key = await shop.put(stripe_product_id=own)
    await shop.sync(key)
    ids = await in_agreement(shop, key, 2500)
    await shop.put(key, stripe_product_id=wrong, stripe_price_id=wrong)
    shop.server.calls.clear()
    await shop.sync(key)
    assert await in_agreement(shop, key, 2500) == ids
    assert shop.writes() == []


async def test_a_copied_row_does_not_take_over_the_originals_product(shop: Shop) -> None:
    """INSERT … SELECT with the ids: dead, and it says what to do; without the ids the copy gets its own product."""
    key = await shop.put()
    await shop.sync(key)
    copy = await shop.put(name="Copy", stripe_product_id=f"space_{key}")
    shop.server.calls.clear()
    with pytest.raises(Park, match=f"belongs to space {key}.*set stripe_product_id of this row to null"):
        await shop.sync(copy)
    assert shop.writes() == []
    await shop.put(copy, stripe_product_id=None)
    await shop.sync(copy)
    assert {product["id"] for product in shop.products()} == {f"space_{key}", f"space_{copy}"}


async def test_a_copied_row_that_is_deleted_leaves_the_originals_product_alone(shop: Shop) -> None:
    """The product that a gone row names is archived only if it is that space's."""
    key = await shop.put()
    await shop.sync(key)
    copy = await shop.put(name="Copy", stripe_product_id=f"space_{key}")
    with pytest.raises(Skip, match=f"belongs to space {key}"):
        await shop.sync(copy, "delete", await shop.remove(copy))
    await in_agreement(shop, key, 2500)


async def test_ids_are_not_written_over_a_newer_change_of_them(shop: Shop) -> None:
    """Ids that someone sets while Stripe is at work stay; that change has an event of its own."""
    key = await shop.put()
    gate = shop.server.hold("POST", "/v1/prices")
    running = asyncio.create_task(shop.sync(key))
    await gate.reached
    await shop.put(key, stripe_price_id="price_by_hand")
    gate.release()
    await running
    row = await shop.row(key)
    assert row is not None
    assert (row["stripe_product_id"], row["stripe_price_id"]) == (None, "price_by_hand")
    await shop.sync(key)
    await in_agreement(shop, key, 2500)


async def test_a_product_that_appears_meanwhile_is_adopted(shop: Shop) -> None:
    """Somebody makes the product between our look and our write: Stripe refuses a second one, and theirs is used."""
    key = await shop.put()
    gate = shop.server.hold("GET", "/v1/products/*")
    running = asyncio.create_task(shop.sync(key))
    await gate.reached
    params = {"id": f"space_{key}", "name": "Theirs"}
    await shop.client.write("product.create", shop.client.api.products.create_async, params=params, key="k")
    gate.release()
    await running
    await in_agreement(shop, key, 2500)


async def test_a_product_that_vanishes_meanwhile_is_made_anew(shop: Shop) -> None:
    """Somebody deletes the row's product between our look and our write: the space gets one of its own."""
    params = {"id": "prod_legacy", "name": "Old"}
    await shop.client.write("product.create", shop.client.api.products.create_async, params=params, key="k")
    key = await shop.put(stripe_product_id="prod_legacy")
    gate = shop.server.hold("GET", "/v1/prices")
    running = asyncio.create_task(shop.sync(key))
    await gate.reached
    await shop.client.api.products.delete_async("prod_legacy")
    gate.release()
    await running
    product_id, _ = await in_agreement(shop, key, 2500)
    assert product_id == f"space_{key}"


async def test_a_product_without_description_and_capacity(shop: Shop) -> None:
    """NULL columns are no fields at Stripe, and columns that become NULL unset them."""
    key = await shop.put(description=None, capacity=None)
    await shop.sync(key)
    assert only(shop.products())["description"] is None
    assert "capacity" not in only(shop.products())["metadata"]
    await shop.put(key, description="x", capacity=3)
    await shop.sync(key)
    await in_agreement(shop, key, 2500)
    await shop.put(key, description=None, capacity=None)
    await shop.sync(key)
    assert only(shop.products())["description"] is None
    assert "capacity" not in only(shop.products())["metadata"]
    shop.server.calls.clear()
    await shop.sync(key)
    assert shop.writes() == []


async def test_recurring_prices_are_left_alone_and_stray_ones_archived(shop: Shop) -> None:
    """Exactly one active one-time price; a subscription that someone sells on the same product stays."""
    key = await shop.put()
    await shop.sync(key)
    product, create = f"space_{key}", shop.client.api.prices.create_async
    stray = {"product": product, "currency": "usd", "unit_amount": 5}
    monthly = {**stray, "recurring": {"interval": "month"}}
    await shop.client.write("price.create", create, params=stray, key="stray")
    await shop.client.write("price.create", create, params=monthly, key="monthly")
    await shop.sync(key)
    assert sorted(price["type"] for price in shop.prices()) == ["one_time", "recurring"]
    assert {p["unit_amount"] for p in shop.prices() if p["type"] == "one_time"} == {2500}


async def test_many_stray_prices_are_all_found(shop: Shop) -> None:
    """Stripe lists a hundred prices at a time; those on the next page count too."""
    key = await shop.put()
    await shop.sync(key)
    create = shop.client.api.prices.create_async
    for number in range(101):
        params = {"product": f"space_{key}", "currency": "eur", "unit_amount": 2500}
        await shop.client.write("price.create", create, params=params, key=f"stray {number}")
    await shop.sync(key)
    await in_agreement(shop, key, 2500)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"price_per_hour": None}, "price_per_hour"),
        ({"price_per_hour": "-1"}, "negative"),
        ({"price_per_hour": "25.005"}, "rounded"),
        ({"price_per_hour": "NaN"}, "price_per_hour"),
        ({"name": ""}, "name"),
    ],
)
async def test_a_row_that_does_not_fit_writes_nothing(shop: Shop, columns: dict[str, Any], reason: str) -> None:
    """Bad data is dead at once, with a reason, and touches neither Stripe nor the row."""
    key = await shop.put(**columns)
    with pytest.raises(Park, match=reason):
        await shop.sync(key)
    assert len(shop.server.calls) == 0


async def test_truncate_is_never_silent(shop: Shop) -> None:
    """A truncated table cannot be worked off row by row: a person is told what to do."""
    change = Change(id=1, at=datetime.now(UTC), topic="public.spaces", op="truncate", key=None)
    with pytest.raises(Park, match="truncated"):
        await sync_space(change, shop.context)


async def test_another_currency_and_prefix(database_url: str) -> None:
    """Both are configurable: an amount in yen has no cents."""
    async with open_shop(database_url, currency="JPY", prefix="room-") as shop:
        key = await shop.put(price_per_hour="2500")
        await shop.sync(key)
        price = only(shop.prices())
        assert (price["currency"], price["unit_amount"]) == ("jpy", 2500)
        assert (price["product"], price["lookup_key"]) == (f"room-{key}", f"room-{key}")


async def test_the_ledger_tells_what_was_done(shop: Shop) -> None:
    """Each write is recorded with its object, Stripe's request id and the fields before and after."""
    key = await shop.put()
    await shop.sync(key)
    await shop.put(key, name="New")
    await shop.sync(key)
    async with shop.database.connection() as connection:
        ledger = await connection.execute("select * from hearken.effects order by id")
        effects = await ledger.fetchall()
    assert [effect["step"] for effect in effects] == [
        "product.create",
        "price.create",
        "product.default_price",
        "product.update",
    ]
    last = effects[-1]
    assert (last["state"], last["object_id"]) == ("done", f"space_{key}")
    assert last["changed"] == {"name": ["Test Space", "New"]}
    assert last["request_id"] == shop.server.calls[-1].request_id
