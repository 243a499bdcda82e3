"""`expand[]`: puts the product into a price, or the default price into a product (docs.stripe.com/expand)."""

from __future__ import annotations

from handlers.stripe.local.errors import invalid
from handlers.stripe.local.reader import Reader
from handlers.stripe.local.store import Store, StripeObject

_FIELDS = {"product": ("default_price", "prices"), "price": ("product", "products")}


def read_expand(params: Reader, *, listing: bool, kind: str) -> bool:
    """Say whether the one reference an object of this kind has is to be expanded; refuse any other path."""
    paths = params.texts("expand", limit=4) or []
    field = _FIELDS[kind][0] if kind in _FIELDS else None
    known = f"data.{field}" if listing else field
    for path in paths:
        if path != known:
            raise invalid(f"This property cannot be expanded ({path}).", "expand")
    return bool(paths)


def expanded(store: Store, answer: StripeObject) -> StripeObject:
    """Return the object (or each one of a list) with its reference replaced by what it names."""
    if answer["object"] == "list":
        return answer | {"data": [expanded(store, item) for item in answer["data"]]}
    field, shelf = _FIELDS[answer["object"]]
    named = answer[field]
    found = None if named is None else getattr(store, shelf).get(named)
    return answer | {field: found or named}
