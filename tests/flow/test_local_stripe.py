"""The local Stripe keeps a catalogue as Stripe does: what an outside client of the SDK can rely on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import stripe

from handlers.stripe.local import LocalStripe
from tests.support.local_stripe import sdk


@pytest.fixture
async def server() -> AsyncIterator[LocalStripe]:
    """A Stripe account of the test's own."""
    async with LocalStripe() as server:
        yield server


@pytest.fixture
async def api(server: LocalStripe) -> AsyncIterator[stripe.V1Services]:
    """The official async client on it."""
    async with sdk(server) as services:
        yield services


async def _price(api: stripe.V1Services, product: str, amount: int, **more: str) -> stripe.Price:
    return await api.prices.create_async(
        {"product": product, "currency": "eur", "unit_amount": amount, **more}  # type: ignore[typeddict-item]
    )


async def test_a_product_keeps_its_own_id_and_a_second_one_is_refused(api: stripe.V1Services) -> None:
    """A deterministic id makes a repeated create harmless: the second says that it exists already."""
    made = await api.products.create_async({"id": "space_42", "name": "Blue", "metadata": {"capacity": "4"}})
    assert (made.id, made.active, made.livemode, made.metadata["capacity"]) == ("space_42", True, False, "4")
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await api.products.create_async({"id": "space_42", "name": "Other"})
    error = refusal.value.error
    assert error is not None
    assert (refusal.value.http_status, error.code, error.param) == (400, "resource_already_exists", "id")
    assert error.message == "Product already exists."
    assert str(error.doc_url).endswith("/error-codes/resource-already-exists")
    assert str(refusal.value.request_id).startswith("req_")
    assert (await api.products.retrieve_async("space_42")).name == "Blue"


async def test_an_update_merges_metadata_and_unsets_what_is_sent_empty(api: stripe.V1Services) -> None:
    """Keys not sent stay, an empty value removes its key, an empty hash all of them; '' clears a text."""
    await api.products.create_async(
        {"id": "p", "name": "N", "description": "D", "metadata": {"a": "1", "b": "2"}, "images": ["x"]}
    )
    updated = await api.products.update_async(
        "p", {"description": "", "images": "", "active": False, "metadata": {"b": "", "c": "3"}}
    )
    assert (updated.description, updated.images, updated.active) == (None, [], False)
    assert updated.metadata.to_dict() == {"a": "1", "c": "3"}
    assert (await api.products.update_async("p", {"metadata": ""})).metadata.to_dict() == {}


async def test_a_lookup_key_belongs_to_one_price_until_it_is_transferred(api: stripe.V1Services) -> None:
    """Even an archived price keeps its key; transfer_lookup_key takes it away, on create and on update."""
    await api.products.create_async({"id": "p", "name": "N"})
    old = await _price(api, "p", 2500, lookup_key="k")
    await api.prices.update_async(old.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match=rf"A price \(`{old.id}`\) already uses that lookup key"):
        await _price(api, "p", 3000, lookup_key="k")
    new = await api.prices.create_async(
        {
            "product": "p",
            "currency": "eur",
            "unit_amount": 3000,
            "lookup_key": "k",
            "transfer_lookup_key": True,
        }
    )
    assert [price.id for price in (await api.prices.list_async({"lookup_keys": ["k"]})).data] == [new.id]
    assert (await api.prices.retrieve_async(old.id)).lookup_key is None
    back = await api.prices.update_async(old.id, {"lookup_key": "k", "transfer_lookup_key": True})
    assert (back.lookup_key, (await api.prices.retrieve_async(new.id)).lookup_key) == ("k", None)
    assert (await api.prices.update_async(old.id, {"lookup_key": "k"})).lookup_key == "k"


async def test_a_default_price_cannot_be_archived_until_another_takes_its_place(
    api: stripe.V1Services,
) -> None:
    """The order a price change has to follow: create, make it the default, then archive the old one."""
    await api.products.create_async({"id": "p", "name": "N"})
    old, new = await _price(api, "p", 2500), await _price(api, "p", 3000)
    await api.products.update_async("p", {"default_price": old.id})
    with pytest.raises(stripe.InvalidRequestError, match="it is the default price of its product"):
        await api.prices.update_async(old.id, {"active": False})
    await api.products.update_async("p", {"default_price": new.id})
    assert not (await api.prices.update_async(old.id, {"active": False})).active
    assert (await api.products.update_async("p", {"default_price": ""})).default_price is None


async def test_a_default_price_is_an_active_price_of_the_product(api: stripe.V1Services) -> None:
    """An archived price, another product's, and one that does not exist are refused."""
    await api.products.create_async({"id": "p", "name": "N"})
    await api.products.create_async({"id": "other", "name": "N"})
    archived, foreign = await _price(api, "p", 1), await _price(api, "other", 1)
    await api.prices.update_async(archived.id, {"active": False})
    for wrong in (archived.id, foreign.id, "price_none"):
        with pytest.raises(stripe.InvalidRequestError) as refusal:
            await api.products.update_async("p", {"default_price": wrong})
        assert (refusal.value.http_status, refusal.value.param) == (400, "default_price")
    assert (await api.products.retrieve_async("p")).default_price is None


async def test_default_price_data_makes_the_price_with_the_product(api: stripe.V1Services) -> None:
    """One call makes both, and expand shows the price inside the product and the product inside the price."""
    made = await api.products.create_async(
        {
            "name": "N",
            "default_price_data": {"currency": "EUR", "unit_amount": 1250},
            "expand": ["default_price"],
        }
    )
    price = made.default_price
    assert isinstance(price, stripe.Price)
    assert (price.currency, price.unit_amount, price.type) == ("eur", 1250, "one_time")
    listed = await api.prices.list_async({"product": made.id, "expand": ["data.product"]})
    assert isinstance(listed.data[0].product, stripe.Product)


async def test_prices_keep_exact_amounts(api: stripe.V1Services) -> None:
    """Whole and decimal amounts, one-time and recurring, as the SDK reads them back."""
    await api.products.create_async({"id": "p", "name": "N"})
    whole = await _price(api, "p", 2500)
    assert (whole.unit_amount, whole.unit_amount_decimal, whole.recurring) == (2500, Decimal("2500"), None)
    part = await api.prices.create_async(
        {
            "product": "p",
            "currency": "eur",
            "unit_amount_decimal": Decimal("0.125"),
            "recurring": {"interval": "month"},
        }
    )
    assert (part.unit_amount, part.unit_amount_decimal, part.type) == (None, Decimal("0.125"), "recurring")
    assert (await api.prices.create_async({"product": "p", "currency": "jpy", "unit_amount": 0})).unit_amount == 0


async def test_an_archived_product_still_takes_a_price(api: stripe.V1Services) -> None:
    """Stripe refuses to sell an archived product, not to price it; its prices stay active."""
    await api.products.create_async({"id": "p", "name": "N", "active": False})
    assert (await _price(api, "p", 2500)).active


async def test_only_a_product_without_prices_can_be_deleted(api: stripe.V1Services) -> None:
    """Archived prices count too; a deleted product is gone."""
    await api.products.create_async({"id": "bare", "name": "N"})
    await api.products.create_async({"id": "priced", "name": "N"})
    await api.prices.update_async((await _price(api, "priced", 1)).id, {"active": False})
    assert (await api.products.delete_async("bare")).deleted
    with pytest.raises(stripe.InvalidRequestError) as gone:
        await api.products.retrieve_async("bare")
    assert (gone.value.http_status, gone.value.code, gone.value.param) == (404, "resource_missing", "id")
    with pytest.raises(stripe.InvalidRequestError, match="has one or more user-created prices"):
        await api.products.delete_async("priced")


async def test_a_list_of_250_products_is_paged_newest_first_in_both_directions(
    api: stripe.V1Services,
) -> None:
    """Every product comes once, whatever the page size; the cursors go forward and back."""
    for number in range(250):
        await api.products.create_async({"id": f"p{number}", "name": "N", "active": number % 2 == 0})
    everything = [f"p{number}" for number in reversed(range(250))]
    pages = await api.products.list_async({"limit": 100})
    assert pages.has_more
    assert [product.id async for product in pages.auto_paging_iter()] == everything
    evens = (await api.products.list_async({"limit": 7, "active": True})).auto_paging_iter()
    assert [product.id async for product in evens] == everything[1::2]
    middle = await api.products.list_async({"limit": 3, "starting_after": "p100"})
    assert ([product.id for product in middle.data], middle.has_more) == (["p99", "p98", "p97"], True)
    back = await api.products.list_async({"limit": 3, "ending_before": "p97"})
    assert ([product.id for product in back.data], back.has_more) == (["p100", "p99", "p98"], True)
    assert not (await api.products.list_async({"limit": 3, "starting_after": "p2"})).has_more
    chosen = await api.products.list_async({"ids": ["p7", "none", "p8"]})
    assert [product.id for product in chosen.data] == ["p8", "p7"]


async def test_prices_are_listed_by_product_state_currency_and_type(api: stripe.V1Services) -> None:
    """Each filter narrows; without `active` both kinds are there; an unknown product is refused."""
    for product in ("p", "q"):
        await api.products.create_async({"id": product, "name": "N"})
    old, new, other = await _price(api, "p", 1), await _price(api, "p", 2), await _price(api, "q", 3)
    await api.prices.update_async(old.id, {"active": False})

    async def ids(**filters: object) -> list[str]:
        listed = await api.prices.list_async({**filters})  # type: ignore[arg-type]
        return [price.id for price in listed.data]

    assert await ids(product="p") == [new.id, old.id]
    assert await ids(product="p", active=True) == [new.id]
    assert await ids(active=False) == [old.id]
    assert await ids(currency="usd") == await ids(type="recurring") == []
    assert await ids(currency="eur", active=True) == [other.id, new.id]
    with pytest.raises(stripe.InvalidRequestError, match="No such product: 'none'"):
        await ids(product="none")


async def test_created_filters_select_by_time() -> None:
    """Bounds with and without equality, against a clock of the test's own."""
    now = [1000.0]
    async with LocalStripe(clock=lambda: now[0]) as server, sdk(server) as api:
        for _ in range(3):
            await api.products.create_async({"id": f"at{now[0]:.0f}", "name": "N"})
            now[0] += 10

        async def ids(**bounds: int) -> list[str]:
            listed = await api.products.list_async({"created": {**bounds}})  # type: ignore[arg-type]
            return [product.id for product in listed.data]

        assert await ids(gte=1010) == ["at1020", "at1010"]
        assert await ids(gt=1010) == ["at1020"]
        assert await ids(lt=1010) == ["at1000"]
        assert await ids(gt=1000, lte=1010) == ["at1010"]
        assert [p.id for p in (await api.products.list_async({"created": 1020})).data] == ["at1020"]
