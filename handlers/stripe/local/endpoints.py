"""The table of endpoints: method and path to the function that validates, and the permission it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

from handlers.stripe.local import account, prices, products
from handlers.stripe.local.errors import Refusal
from handlers.stripe.local.expand import expanded, read_expand
from handlers.stripe.local.products import Action
from handlers.stripe.local.reader import Reader
from handlers.stripe.local.store import Store, StripeObject


@dataclass(frozen=True)
class Endpoint:
    """One operation: `prepare` validates parameters and returns the action; the action works on a store."""

    permission: str
    prepare: Callable[..., Action]
    kind: str = ""
    listing: bool = False

    def action(self, params: Reader, *ids: str) -> Action:
        """Return what is to be done to the object of the path (none for a collection).

        Raises Refusal when a parameter is wrong; nothing has begun then.
        """
        expanding = read_expand(params, listing=self.listing, kind=self.kind)
        act = self.prepare(params, *ids)

        def run(store: Store) -> StripeObject:
            answer = act(store)
            return expanded(store, answer) if expanding else answer

        return run


_CREATE_PRODUCT = partial(products.create, prices.read_default)
_COLLECTIONS = {
    ("GET", "account"): Endpoint("rak_accounts_kyc_basic_read", account.retrieve),
    ("GET", "balance"): Endpoint("rak_balance_read", account.balance),
    ("GET", "products"): Endpoint("rak_product_read", products.index, "product", listing=True),
    ("POST", "products"): Endpoint("rak_product_write", _CREATE_PRODUCT, "product"),
    ("GET", "prices"): Endpoint("rak_price_read", prices.index, "price", listing=True),
    ("POST", "prices"): Endpoint("rak_price_write", prices.create, "price"),
}
_SINGLES = {
    ("GET", "products"): Endpoint("rak_product_read", products.retrieve, "product"),
    ("POST", "products"): Endpoint("rak_product_write", products.update, "product"),
    ("DELETE", "products"): Endpoint("rak_product_write", products.delete),
    ("GET", "prices"): Endpoint("rak_price_read", prices.retrieve, "price"),
    ("POST", "prices"): Endpoint("rak_price_write", prices.update, "price"),
}


def endpoint(method: str, path: str) -> tuple[Endpoint, tuple[str, ...]]:
    """Return the endpoint at this path (percent-encoded as sent), and the object's id if it names one.

    Raises Refusal (404) in Stripe's words when there is no such endpoint.
    """
    parts = path.split("/")
    found = None
    if parts[1:2] == ["v1"] and len(parts) in (3, 4):
        found = (_COLLECTIONS if len(parts) == 3 else _SINGLES).get((method, parts[2]))
    if found is None:
        message = f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs"
        raise Refusal(404, f"{message} or we can help at https://support.stripe.com/.")
    return found, tuple(unquote(id_) for id_ in parts[3:])
