"""What has to be done at Stripe for one space: pure, so that it can be shown (`--dry-run`) before it is done.

    row ──wanted()──► Listing ┐
                              ├──plan()──► steps ──apply──► Stripe
    Stripe ──observe──► Catalogue ┘

A space is one product. Its product id and the lookup key of its price are the prefix and the row's key
(`space_42`, see `identity`); a row that brings a product id of its own keeps it. Prices are immutable at Stripe,
so a new amount is a new price: it takes the lookup key over, becomes the product's default, and only then are the
older ones archived (Stripe refuses to archive a default price). A space that is gone or inactive has its
product archived, which is enough to stop its prices from being sold; they stay as they are, so that nothing
but the product has to come back. Recurring prices are none of this handler's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from handlers.spaces.identity import mark_of, stripe_id
from handlers.stripe.amounts import AmountError, minor_units
from schema.spaces.row import Space
from worker import Park

NEW_PRICE = "(the new price)"
"""Stands for the id of a price that the plan creates."""

Params = dict[str, Any]


@dataclass(frozen=True)
class Price:
    """An active one-time price at Stripe. unit_amount: minor units; None where it is not fixed."""

    id: str
    unit_amount: int | None
    currency: str
    lookup_key: str | None


@dataclass(frozen=True)
class Product:
    """A product at Stripe. An empty description is ""."""

    id: str
    active: bool
    name: str
    description: str
    metadata: Mapping[str, str]
    default_price: str | None


@dataclass(frozen=True)
class Catalogue:
    """What Stripe has for one space: its product, if any, and that product's active one-time prices."""

    product: Product | None
    prices: tuple[Price, ...] = ()


@dataclass(frozen=True)
class Listing:
    """What Stripe should have for an active space. key: its price's lookup key, and a new product's id."""

    key: str
    name: str
    description: str
    metadata: Mapping[str, str]
    currency: str
    unit_amount: int


@dataclass(frozen=True)
class Step:
    """One write at Stripe: `name` says which, `target` is the object's id (None: it is made).

    changed: field → (before, after), for the ledger and for showing.
    """

    name: str
    target: str | None
    params: Params
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)


def wanted(row: Mapping[str, Any], key: str, *, prefix: str, currency: str) -> Listing:
    """What an active row asks for. Raises Park, naming the columns that do not fit, without their values."""
    try:
        space = Space.model_validate(row)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Park(f"this row of spaces cannot be listed at Stripe: {faults}. Correct the row") from None
    try:
        unit_amount = minor_units(space.price_per_hour, currency)
    except AmountError as error:
        raise Park(f"this row of spaces has no price for Stripe: price_per_hour {error}") from None
    capacity = "" if space.capacity is None else str(space.capacity)
    return Listing(
        key=stripe_id(prefix, key),
        name=space.name,
        description=space.description or "",
        metadata={"space_id": mark_of(key), "capacity": capacity, "type": "coworking_space"},
        currency=currency,
        unit_amount=unit_amount,
    )


def plan(listing: Listing | None, has: Catalogue) -> list[Step]:
    """The steps, in order, from what Stripe `has` to the listing; None wants the product archived.

    Empty when they agree.
    """
    if listing is None:
        return _archive_product(has.product)
    kept = kept_price(listing, has)
    product_id = has.product.id if has.product else listing.key
    return [
        *_product_steps(listing, has.product),
        *_price_steps(listing, product_id, kept),
        *_default_price_step(has.product, product_id, kept),
        *_archive_prices(has, kept),
    ]


def action_of(steps: Sequence[Step]) -> str:
    """What a plan does, in a word."""
    if not steps:
        return "nothing"
    return {"product.create": "create", "product.archive": "archive"}.get(steps[0].name, "update")


def kept_price(listing: Listing, has: Catalogue) -> Price | None:
    """The price that is right already; of several, the one with the fewest changes to make."""
    right = [p for p in has.prices if (p.unit_amount, p.currency) == (listing.unit_amount, listing.currency)]
    default = has.product.default_price if has.product else None
    return max(right, key=lambda p: (p.lookup_key == listing.key, p.id == default), default=None)


def _archive_product(product: Product | None) -> list[Step]:
    if product is None or not product.active:
        return []
    return [Step("product.archive", product.id, {"active": False}, {"active": (True, False)})]


def _product_steps(listing: Listing, product: Product | None) -> list[Step]:
    if product is None:
        return [_create_product(listing)]
    changed: dict[str, tuple[Any, Any]] = {}
    if not product.active:
        changed["active"] = (False, True)
    if product.name != listing.name:
        changed["name"] = (product.name, listing.name)
    if product.description != listing.description:
        changed["description"] = (product.description, listing.description)
    params: Params = {name: after for name, (_, after) in changed.items()}
    metadata = {k: v for k, v in listing.metadata.items() if product.metadata.get(k, "") != v}
    if metadata:
        params["metadata"] = metadata
        changed |= {f"metadata.{k}": (product.metadata.get(k, ""), v) for k, v in metadata.items()}
    return [Step("product.update", product.id, params, changed)] if changed else []


def _create_product(listing: Listing) -> Step:
    """Empty values are left out: to Stripe, "" means to unset."""
    texts = {"name": listing.name, "description": listing.description}
    given = {name: text for name, text in texts.items() if text}
    metadata = {name: text for name, text in listing.metadata.items() if text}
    changed = {name: (None, text) for name, text in given.items()}
    changed |= {f"metadata.{name}": (None, text) for name, text in metadata.items()}
    return Step("product.create", None, {"id": listing.key, **given, "metadata": metadata}, changed)


def _price_steps(listing: Listing, product_id: str, kept: Price | None) -> list[Step]:
    key: Params = {"lookup_key": listing.key, "transfer_lookup_key": True}
    if kept is None:
        amount = {"currency": listing.currency, "unit_amount": listing.unit_amount}
        changed = {name: (None, value) for name, value in amount.items()}
        return [Step("price.create", None, {"product": product_id, **amount, **key}, changed)]
    if kept.lookup_key == listing.key:
        return []
    return [Step("price.update", kept.id, key, {"lookup_key": (kept.lookup_key, listing.key)})]


def _default_price_step(product: Product | None, product_id: str, kept: Price | None) -> list[Step]:
    before = product.default_price if product else None
    after = kept.id if kept else NEW_PRICE
    if before == after:
        return []
    changed = {"default_price": (before, after)}
    return [Step("product.default_price", product_id, {"default_price": after}, changed)]


def _archive_prices(has: Catalogue, kept: Price | None) -> list[Step]:
    return [
        Step("price.archive", price.id, {"active": False}, {"active": (True, False)})
        for price in has.prices
        if kept is None or price.id != kept.id
    ]
