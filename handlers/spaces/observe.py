"""What Stripe has for one space: reads only, before `plan`.

The product is the one that the row names, if Stripe knows it. Otherwise (a new row, an id mistyped or wiped
by hand) it is the one whose price carries the space's lookup key, and otherwise the one with the id a new
product would get. So a space finds its product again whatever happened to its row.
"""

from __future__ import annotations

import stripe as sdk

from handlers.spaces.plan import Catalogue, Price, Product
from handlers.stripe import Stripe

_PAGE = 100


async def observe(stripe: Stripe, key: str, claimed: str | None) -> Catalogue:
    """The product and its active one-time prices.

    key: the lookup key of its price, and its default id; claimed: the id that the row names.
    """
    product = await _find_product(stripe, key, claimed)
    if product is None:
        return Catalogue(None)
    prices = await _active_prices(stripe, product=product.id)
    return Catalogue(product, tuple(_price(p) for p in prices if p.recurring is None))


async def _find_product(stripe: Stripe, key: str, claimed: str | None) -> Product | None:
    product = await _product(stripe, claimed) if claimed else None
    if product is None and claimed != key:
        holders = await _active_prices(stripe, lookup_keys=[key])
        product = await _product(stripe, (_id(holders[0].product) if holders else None) or key)
    return product


async def _product(stripe: Stripe, product_id: str) -> Product | None:
    found = await stripe.find("product.retrieve", stripe.api.products.retrieve_async, product_id)
    if found is None:
        return None
    return Product(
        id=found.id,
        active=found.active,
        name=found.name,
        description=found.description or "",
        metadata=dict(found.metadata.to_dict()),
        default_price=_id(found.default_price),
    )


async def _active_prices(stripe: Stripe, **which: object) -> list[sdk.Price]:
    """Every active price that matches, newest first. (The SDK's own paging would evade our pace.)"""
    prices: list[sdk.Price] = []
    params: dict[str, object] = {"active": True, "limit": _PAGE, **which}
    while True:
        page = await stripe.read("price.list", stripe.api.prices.list_async, params=params)
        prices += page.data
        if not page.has_more:
            return prices
        params["starting_after"] = prices[-1].id


def _price(price: sdk.Price) -> Price:
    """Tiered prices and those that customers choose have no `unit_amount`: they are never the wanted one."""
    plain = price.transform_quantity is None
    return Price(price.id, price.unit_amount if plain else None, price.currency, price.lookup_key)


def _id(reference: str | sdk.Price | sdk.Product | None) -> str | None:
    """The id of a reference that Stripe may have expanded."""
    return reference if reference is None or isinstance(reference, str) else reference.id
