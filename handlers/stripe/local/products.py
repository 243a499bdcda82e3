"""`/v1/products`: validation first (`Reader`), then an action that works on the store.

Shapes and rules: docs.stripe.com/api/products. A product with prices cannot be deleted, whether they are
active or not; its default price has to be one of its own, active.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from handlers.stripe.local.errors import refused
from handlers.stripe.local.lookup import find
from handlers.stripe.local.paging import PAGE_PARAMS, Query, list_of, read_page
from handlers.stripe.local.reader import Reader, merged_metadata
from handlers.stripe.local.store import Store, StripeObject, new_id

Action: TypeAlias = Callable[[Store], StripeObject]
PlainPrice: TypeAlias = Callable[[Reader], Callable[[Store, str], StripeObject]]

_TEXTS = ("description", "statement_descriptor", "tax_code", "unit_label", "url")
_COMMON = ("active", "expand", "images", "metadata", "name", "shippable", *_TEXTS)
_CREATE = (*_COMMON, "default_price_data", "id", "type")
_UPDATE = (*_COMMON, "default_price")
_INLINE = ("active", "id", "metadata", "name", "statement_descriptor", "tax_code", "unit_label")
_LEFT_OUT = ("marketing_features", "package_dimensions", "tax_details")
_LIST = (*PAGE_PARAMS, "active", "ids", "shippable", "url", "type")


def _read_changes(params: Reader, *, updating: bool) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in _TEXTS:
        if params.has(name):
            changes[name] = params.text(name, clearable=updating)
    for name in ("active", "shippable"):
        if params.has(name):
            changes[name] = params.flag(name)
    if params.has("images"):
        changes["images"] = params.texts("images", limit=8, clearable=updating)
    return changes


def read_new(params: Reader) -> Callable[[Store], StripeObject]:
    """Read what a new product is made of; the action puts it on the shelf."""
    name, id_ = params.required("name"), params.text("id")
    kind = params.choice("type", ("good", "service")) or "service"
    changes = _read_changes(params, updating=False)
    metadata = merged_metadata({}, params.metadata())

    def act(store: Store) -> StripeObject:
        if id_ is not None and id_ in store.products:
            raise refused("Product already exists.", "id", "resource_already_exists")
        made = _blank(store, id_ or new_id("prod_", 14)) | {"name": name, "type": kind, "metadata": metadata}
        return store.products.put(made | changes)

    return act


def _blank(store: Store, id_: str) -> StripeObject:
    now = store.now()
    nothing = dict.fromkeys((*_TEXTS, "default_price", "package_dimensions", "shippable", "tax_details"))
    return nothing | {
        "id": id_,
        "object": "product",
        "active": True,
        "created": now,
        "images": [],
        "livemode": store.livemode,
        "marketing_features": [],
        "metadata": {},
        "updated": now,
    }


def read_inline(params: Reader) -> Callable[[Store], StripeObject]:
    """Read `product_data`, the product made together with a price."""
    params.only(_INLINE, _LEFT_OUT)
    return read_new(params)


def create(read_price: PlainPrice, params: Reader) -> Action:
    """POST /v1/products. `read_price` reads `default_price_data` (prices depend on products)."""
    params.only(_CREATE, _LEFT_OUT)
    act = read_new(params)
    price_data = params.child("default_price_data")
    if price_data is None:
        return act
    add_price = read_price(price_data)

    def with_price(store: Store) -> StripeObject:
        product = act(store)
        price = add_price(store, product["id"])
        return store.products.put(product | {"default_price": price["id"]})

    return with_price


def retrieve(params: Reader, id_: str) -> Action:
    """GET /v1/products/{id}."""
    params.only(("expand",))
    return lambda store: find(store, "product", id_, "id", 404)


def update(params: Reader, id_: str) -> Action:
    """POST /v1/products/{id}: metadata is merged, empty strings unset what can be unset."""
    params.only(_UPDATE, _LEFT_OUT)
    changes = _read_changes(params, updating=True)
    metadata = params.metadata() if params.has("metadata") else None
    if params.has("name"):
        changes["name"] = params.required("name")
    if params.has("default_price"):
        changes["default_price"] = params.text("default_price", clearable=True)

    def act(store: Store) -> StripeObject:
        old = find(store, "product", id_, "id", 404)
        if changes.get("default_price"):
            _check_default(store, old, changes["default_price"])
        new = old | changes | {"updated": store.now()}
        if metadata is not None:
            new["metadata"] = merged_metadata(old["metadata"], metadata)
        return store.products.put(new)

    return act


def _check_default(store: Store, product: StripeObject, price_id: str) -> None:
    price = find(store, "price", price_id, "default_price")
    if price["product"] != product["id"]:
        message = f"The price `{price_id}` does not belong to the product `{product['id']}`."
        raise refused(message, "default_price")
    if not price["active"]:
        raise refused("The price specified is inactive. This field only accepts active prices.", "default_price")


def delete(params: Reader, id_: str) -> Action:
    """DELETE /v1/products/{id}: refused while the product has any price, active or not."""
    params.only(())

    def act(store: Store) -> StripeObject:
        find(store, "product", id_, "id", 404)
        if store.prices.first("product", id_) is not None:
            raise refused("This product cannot be deleted because it has one or more user-created prices.")
        store.products.remove(id_)
        return {"id": id_, "object": "product", "deleted": True}

    return act


def index(params: Reader) -> Action:
    """GET /v1/products."""
    params.only(_LIST)
    where: dict[str, object] = {name: params.flag(name) for name in ("active", "shippable") if params.has(name)}
    where |= {name: params.text(name) for name in ("url", "type") if params.has(name)}
    ids = params.texts("ids")
    query = Query("product", "/v1/products", read_page(params), where, ids)
    return lambda store: list_of(store, query)
