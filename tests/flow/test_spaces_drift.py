"""Promise: what differs between the table and Stripe is found, by kind, and nothing else; looking writes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from handlers.spaces.reconcile import find_drift, look_at_space
from tests.support.local_stripe import sdk
from tests.support.shop import Shop, open_shop
from worker import Drift


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """Two spaces that agree with Stripe, 1 and 2."""
    async with open_shop(database_url) as opened:
        for name in ("Blue", "Red"):
            await opened.sync(await opened.put(name=name))
        opened.server.calls.clear()
        yield opened


async def found(shop: Shop) -> list[tuple[str | None, str]]:
    """The drift, key and kind; nothing is written while it is looked for."""
    shop.server.calls.clear()
    drift = [one async for one in find_drift(shop.context)]
    assert shop.writes() == []
    await looks_agree(shop, drift)
    return sorted((one.key, one.kind) for one in drift)


async def looks_agree(shop: Shop, drift: list[Drift]) -> None:
    """A single look at each space finds what the whole comparison finds of it."""
    async with shop.database.connection() as connection:
        rows = await (await connection.execute("select id::text as key from spaces")).fetchall()
    for row in rows:
        standing = await look_at_space(row["key"], shop.context)
        expected = [d for d in drift if d.key == row["key"] and d.kind != "product without a row"]
        assert list(standing.drift) == expected


async def test_what_agrees_is_no_drift(shop: Shop) -> None:
    """Active spaces, an inactive one never listed, a deleted one whose product is archived."""
    await shop.put(is_active=False)
    gone = await shop.put(name="Gone")
    await shop.sync(gone)
    await shop.sync(gone, "delete", await shop.remove(gone))
    assert await found(shop) == []


async def test_a_product_changed_by_hand(shop: Shop) -> None:
    """Name, description and metadata differ, each a line of its own; the fields say from what to what."""
    async with sdk(shop.server) as api:
        await api.products.update_async(
            "space_1", {"name": "Azure", "description": "Sold", "metadata": {"capacity": "99"}}
        )
    assert await found(shop) == [("1", "description"), ("1", "metadata"), ("1", "name")]
    (name,) = [d for d in (await look_at_space("1", shop.context)).drift if d.kind == "name"]
    assert name.changed == {"name": ("Azure", "Blue")}


async def test_archived_and_active_the_wrong_way_round(shop: Shop) -> None:
    """An active space's product is archived; an inactive one's and a deleted one's are not."""
    async with sdk(shop.server) as api:
        await api.products.update_async("space_1", {"active": False})
    await shop.put(2, is_active=False)
    third = await shop.put(name="Third")
    await shop.sync(third)
    await shop.remove(third)
    assert await found(shop) == [
        ("1", "archived though active"),
        ("2", "active though archived"),
        ("3", "active though deleted"),
    ]


async def test_missing_and_ids(shop: Shop) -> None:
    """A space that was never listed; ids that were changed behind the handler's back."""
    await shop.put(name="Never")
    await shop.put(1, stripe_product_id=None, stripe_price_id="price_none")
    assert await found(shop) == [("1", "ids in the row"), ("3", "missing")]


async def test_prices(shop: Shop) -> None:
    """Another amount or currency, none at all, several, one that is not the default, a lookup key taken away."""
    for name in ("Three", "Four", "Five", "Six"):
        await shop.sync(await shop.put(name=name))
    rows = {key: await shop.row(key) for key in range(1, 7)}
    price = {key: row["stripe_price_id"] for key, row in rows.items() if row}
    async with sdk(shop.server) as api:
        await shop.put(1, price_per_hour="26.00")
        other = await api.prices.create_async({"product": "space_2", "currency": "usd", "unit_amount": 2500})
        await api.products.update_async("space_2", {"default_price": other.id})
        await api.prices.update_async(price[2], {"active": False})
        await api.prices.create_async({"product": "space_3", "currency": "eur", "unit_amount": 1})
        more = await api.prices.create_async({"product": "space_4", "currency": "eur", "unit_amount": 2500})
        await api.products.update_async("space_4", {"default_price": more.id})
        await api.products.update_async("space_5", {"default_price": ""})
        await api.prices.update_async(price[5], {"active": False})
        await api.prices.update_async(price[6], {"lookup_key": "mine"})
    assert await found(shop) == [
        ("1", "amount"),
        ("2", "currency"),
        ("3", "several active prices"),
        ("4", "default price"),
        ("4", "several active prices"),
        ("5", "no price"),
        ("6", "lookup key"),
    ]


async def test_only_what_is_ours_is_looked_at(shop: Shop) -> None:
    """Products of others are none of our business; one with our id and no row is, and a second one of a space."""
    async with sdk(shop.server) as api:
        await api.products.create_async({"name": "Mug"})
        await api.products.create_async({"name": "Ship", "id": "space_ship"})
        await api.products.create_async({"name": "Twin", "id": "twin", "metadata": {"space_id": "1"}})
        await api.products.create_async({"name": "Lost", "id": "lost", "metadata": {"space_id": "99"}})
    drift = [one async for one in find_drift(shop.context)]
    assert {(d.object, d.kind, d.mendable) for d in drift} == {
        ("space_ship", "product without a row", False),
        ("twin", "product without a row", False),
        ("lost", "active though deleted", True),
    }


async def test_what_only_a_person_can_mend(shop: Shop) -> None:
    """A row that does not fit, and a row that names another space's product, are not sent to the handler."""
    await shop.put(1, price_per_hour="25.005")
    await shop.put(2, stripe_product_id="space_1")
    drift = [one async for one in find_drift(shop.context)]
    assert {(d.key, d.kind, d.mendable) for d in drift if d.object != "space_2"} == {
        ("1", "row does not fit", False),
        ("2", "product of another space", False),
    }
    assert all("25.005" not in str(d) for d in drift)


@pytest.mark.slow
async def test_a_catalogue_of_several_pages(shop: Shop) -> None:
    """Lists are read to their end, 100 objects a request: not a request for each space."""
    async with shop.database.connection() as connection:
        await connection.execute(
            "insert into spaces (name, price_per_hour) select 'S' || i, 25 from generate_series(1, 230) i"
        )
    for key in range(3, 233):
        await shop.sync(key)
    shop.server.calls.clear()
    assert [one async for one in find_drift(shop.context)] == []
    assert len(shop.server.calls) == 6
