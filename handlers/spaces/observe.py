"""What Stripe has for one space: reads only, before `plan`.

The product is the one that the row names, if Stripe knows it. Otherwise (a new row, an id mistyped or wiped
by hand) it is the one whose price carries the space's lookup key, and otherwise the one with the id a new
product would get. So a space finds its product again whatever happened to its row.
"""

from __future__ import annotations

import stripe as sdk

from handlers.spaces.plan import Catalogue, Price, Product
from handlers.stripe import Stripe


async def observe(stripe: Stripe, key: str, claimed: str | None) -> Catalogue:
    """The product and its active one-time prices.

    key: the lookup key of its price, and its default id; claimed: the id that the row names.
    """
    product = await _find_product(stripe, key, claimed)
    if product is None:
        return Catalogue(None)
    prices = await _active_prices(stripe, product=product.id)
    return Catalogue(product, tuple(to_price(p) for p in prices if p.recurring is None))


async def _find_product(stripe: Stripe, key: str, claimed: str | None) -> Product | None:
    product = await _product(stripe, claimed) if claimed else None
    if product is None and claimed != key:
        holders = await _active_prices(stripe, lookup_keys=[key])
        product = await _product(stripe, (id_of(holders[0].product) if holders else None) or key)
    return product


async def _product(stripe: Stripe, product_id: str) -> Product | None:
    found = await stripe.find("product.retrieve", stripe.api.products.retrieve_async, product_id)
    return None if found is None else to_product(found)


def to_product(product: sdk.Product) -> Product:
    """What is compared of a product."""
    return Product(
        id=product.id,
        active=product.active,
        name=product.name,
        description=product.description or "",
        metadata=dict(product.metadata.to_dict()),
        default_price=id_of(product.default_price),
    )


async def _active_prices(stripe: Stripe, **which: object) -> list[sdk.Price]:
    """Every active price that matches, newest first."""
    wish = {"active": True, **which}
    return [price async for price in stripe.list("price.list", stripe.api.prices.list_async, wish)]


def to_price(price: sdk.Price) -> Price:
    """Tiered prices and those that customers choose have no `unit_amount`: they are never the wanted one."""
    plain = price.transform_quantity is None
    return Price(price.id, price.unit_amount if plain else None, price.currency, price.lookup_key)


def id_of(reference: str | sdk.Price | sdk.Product | None) -> str | None:
    """The id of a reference that Stripe may have expanded."""
    return reference if reference is None or isinstance(reference, str) else reference.id
