"""What Stripe has for all spaces: the whole catalogue, in lists, for `reconcile`. `observe` is for a single space.

A list is 100 objects a request, so that 10,000 spaces take 200 requests and not 20,000. Products are found in it
by the rules of `observe`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from handlers.spaces.identity import stripe_id
from handlers.spaces.observe import id_of, to_price, to_product
from handlers.spaces.plan import Catalogue, Price, Product
from handlers.spaces.subject import Subject
from handlers.stripe import Stripe


@dataclass
class Survey:
    """Every product, active or archived, and every active one-time price.

    holders  lookup key → product of the active price that has it
    used     products that some space has
    """

    prefix: str
    products: dict[str, Product] = field(default_factory=dict)
    prices: dict[str, tuple[Price, ...]] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def of(self, subject: Subject) -> Catalogue:
        """What Stripe has for one space, found as `observe` finds it."""
        key = stripe_id(self.prefix, subject.key)
        product = self.products.get(subject.claimed) if subject.claimed else None
        if product is None and subject.claimed != key:
            product = self.products.get(self.holders.get(key, key))
        if product is None:
            return Catalogue(None)
        self.used.add(product.id)
        return Catalogue(product, self.prices.get(product.id, ()))

    def unused(self) -> Iterator[Product]:
        """Active products of ours, by their id or their metadata, that no space has asked for."""
        for product in self.products.values():
            ours = product.id.startswith(self.prefix) or "space_id" in product.metadata
            if ours and product.active and product.id not in self.used:
                yield product


async def survey(stripe: Stripe) -> Survey:
    """Read all pages of products and of active prices. Raises an outcome of `handlers.stripe.errors`."""
    found = Survey(stripe.settings.prefix)
    async for product in stripe.list("product.list", stripe.api.products.list_async):
        found.products[product.id] = to_product(product)
    async for price in stripe.list("price.list", stripe.api.prices.list_async, {"active": True}):
        product_id = id_of(price.product) or ""
        if price.lookup_key:
            found.holders.setdefault(price.lookup_key, product_id)
        if price.recurring is None:
            found.prices[product_id] = (*found.prices.get(product_id, ()), to_price(price))
    return found
