"""`/v1/prices`: an amount never changes, a lookup key belongs to one price at a time.

Shapes and rules: docs.stripe.com/api/prices. A lookup key counts as taken even when an archived price holds
it; `transfer_lookup_key` takes it away. A price may be made for an archived product: Stripe refuses only to
sell it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from handlers.stripe.local import products
from handlers.stripe.local.currencies import read_currency
from handlers.stripe.local.errors import invalid, refused
from handlers.stripe.local.lookup import find
from handlers.stripe.local.paging import PAGE_PARAMS, Query, list_of, read_page
from handlers.stripe.local.products import Action
from handlers.stripe.local.reader import Reader, merged_metadata
from handlers.stripe.local.store import Store, StripeObject, new_id

_TAX = ("exclusive", "inclusive", "unspecified")
_INTERVALS = ("day", "month", "week", "year")
_UPDATE = ("active", "expand", "lookup_key", "metadata", "nickname", "tax_behavior", "transfer_lookup_key")
_PLAIN = ("currency", "metadata", "recurring", "tax_behavior", "unit_amount", "unit_amount_decimal")
_CREATE = (*_UPDATE, *_PLAIN, "billing_scheme", "product", "product_data")
_LEFT_OUT = ("currency_options", "custom_unit_amount", "tiers", "tiers_mode", "transform_quantity")
_LIST = (*PAGE_PARAMS, "active", "currency", "lookup_keys", "product", "recurring", "type")


def _read_amount(params: Reader) -> dict[str, Any]:
    if params.has("unit_amount") and params.has("unit_amount_decimal"):
        message = "You may only specify one of these parameters: unit_amount, unit_amount_decimal."
        raise invalid(message, params.full("unit_amount"), "parameters_exclusive")
    whole, exact = params.integer("unit_amount"), params.decimal("unit_amount_decimal")
    amount = exact if whole is None else Decimal(whole)
    if amount is None:
        message = "Prices require an `unit_amount` or `unit_amount_decimal` parameter to be set."
        raise invalid(message, params.full("unit_amount"))
    plain = f"{amount:f}"
    written = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return {
        "unit_amount": int(amount) if amount == amount.to_integral_value() else None,
        "unit_amount_decimal": written,
    }


def _read_recurring(params: Reader) -> dict[str, Any]:
    recurring = params.child("recurring")
    if recurring is None:
        return {"recurring": None, "type": "one_time"}
    recurring.only(("interval", "interval_count", "trial_period_days", "usage_type"), ("meter",))
    recurring.required("interval")
    terms = {
        "interval": recurring.choice("interval", _INTERVALS),
        "interval_count": recurring.integer("interval_count", minimum=1) or 1,
        "meter": None,
        "trial_period_days": recurring.integer("trial_period_days", minimum=1),
        "usage_type": recurring.choice("usage_type", ("licensed",)) or "licensed",
    }
    return {"recurring": terms, "type": "recurring"}


def _read_plain(params: Reader) -> dict[str, Any]:
    tax = params.choice("tax_behavior", _TAX) or "unspecified"
    metadata = merged_metadata({}, params.metadata())
    sold = {"currency": read_currency(params), "metadata": metadata, "tax_behavior": tax}
    return sold | _read_amount(params) | _read_recurring(params)


def _made(store: Store, product_id: str, fields: dict[str, Any]) -> StripeObject:
    blank = {
        "id": new_id("price_1", 23),
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": store.now(),
        "custom_unit_amount": None,
        "livemode": store.livemode,
        "lookup_key": None,
        "nickname": None,
        "product": product_id,
        "tiers_mode": None,
        "transform_quantity": None,
    }
    return store.prices.put(blank | fields)


def read_default(params: Reader) -> Callable[[Store, str], StripeObject]:
    """Read `default_price_data` of a new product; the action makes the price of the product it is given."""
    params.only(_PLAIN, _LEFT_OUT)
    fields = _read_plain(params)
    return lambda store, product_id: _made(store, product_id, fields)


def create(params: Reader) -> Action:
    """POST /v1/prices, for a product that exists or with `product_data` for a new one."""
    params.only(_CREATE, _LEFT_OUT)
    params.choice("billing_scheme", ("per_unit",))
    fields = _read_plain(params)
    fields["active"] = params.flag("active") is not False
    fields["nickname"] = params.text("nickname")
    key, transfer = params.text("lookup_key", limit=200), params.flag("transfer_lookup_key")
    product_of = _read_product(params)

    def act(store: Store) -> StripeObject:
        if key is not None:
            _check_key(store, key, None, transfer)
        product_id = product_of(store)["id"]
        if key is not None:
            _release_key(store, key)
        return _made(store, product_id, fields | {"lookup_key": key})

    return act


def _read_product(params: Reader) -> Action:
    id_, inline = params.text("product"), params.child("product_data")
    if id_ is not None and inline is not None:
        message = "You may only specify one of these parameters: product, product_data."
        raise invalid(message, "product", "parameters_exclusive")
    if inline is not None:
        return products.read_inline(inline)
    if id_ is None:
        message = "You must specify either `product` or `product_data` when creating a price."
        raise invalid(message, "product", "parameter_missing")
    return lambda store: find(store, "product", id_, "product")


def _check_key(store: Store, key: str, own_id: str | None, transfer: bool | None) -> None:
    holder = store.prices.first("lookup_key", key)
    if holder is not None and holder["id"] != own_id and not transfer:
        raise refused(f"A price (`{holder['id']}`) already uses that lookup key.", "lookup_key")


def _release_key(store: Store, key: str) -> None:
    holder = store.prices.first("lookup_key", key)
    if holder is not None:
        store.prices.put(holder | {"lookup_key": None})


def retrieve(params: Reader, id_: str) -> Action:
    """GET /v1/prices/{id}."""
    params.only(("expand",))
    return lambda store: find(store, "price", id_, "price", 404)


def update(params: Reader, id_: str) -> Action:
    """POST /v1/prices/{id}: amount and currency are unknown parameters here, as at Stripe."""
    params.only(_UPDATE, _LEFT_OUT)
    changes: dict[str, Any] = {}
    if params.has("active"):
        changes["active"] = params.flag("active")
    if params.has("tax_behavior"):
        changes["tax_behavior"] = params.choice("tax_behavior", _TAX)
    if params.has("nickname"):
        changes["nickname"] = params.text("nickname", clearable=True)
    if params.has("lookup_key"):
        changes["lookup_key"] = params.text("lookup_key", limit=200)
    transfer = params.flag("transfer_lookup_key")
    metadata = params.metadata() if params.has("metadata") else None

    def act(store: Store) -> StripeObject:
        old = find(store, "price", id_, "price", 404)
        _check_change(store, old, changes, transfer)
        if changes.get("lookup_key"):
            _release_key(store, changes["lookup_key"])
        new = old | changes
        if metadata is not None:
            new["metadata"] = merged_metadata(old["metadata"], metadata)
        return store.prices.put(new)

    return act


def _check_change(store: Store, old: StripeObject, changes: dict[str, Any], transfer: bool | None) -> None:
    product = store.products.get(old["product"])
    if changes.get("active") is False and product is not None and product["default_price"] == old["id"]:
        raise refused("This price cannot be archived because it is the default price of its product.")
    fixed = old["tax_behavior"] != "unspecified"
    if fixed and changes.get("tax_behavior", old["tax_behavior"]) != old["tax_behavior"]:
        raise refused("You cannot change the tax_behavior of a price once it has been set.", "tax_behavior")
    if changes.get("lookup_key"):
        _check_key(store, changes["lookup_key"], old["id"], transfer)


def index(params: Reader) -> Action:
    """GET /v1/prices: without `active` both kinds, as Stripe's list (its prose says only the active ones)."""
    params.only(_LIST, ("recurring",))
    where: dict[str, object] = {"active": params.flag("active")} if params.has("active") else {}
    if params.has("currency"):
        where["currency"] = params.required("currency").lower()
    if params.has("product"):
        where["product"] = params.required("product")
    if params.has("type"):
        where["type"] = params.choice("type", ("one_time", "recurring"))
    keys = params.texts("lookup_keys", limit=10)
    page = read_page(params)

    def act(store: Store) -> StripeObject:
        if "product" in where:
            find(store, "product", str(where["product"]), "product")
        holders = None if keys is None else [store.prices.first("lookup_key", key) for key in keys]
        among = None if holders is None else [holder["id"] for holder in holders if holder]
        return list_of(store, Query("price", "/v1/prices", page, where, among))

    return act
