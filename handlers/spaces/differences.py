"""Where a space and Stripe disagree, by kind: pure. A plan that is not empty is drift, and its steps say which.

plan, or what cannot be planned ──differences()──► Drift of some kinds ──► reconcile
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from handlers.spaces.identity import is_hashed
from handlers.spaces.plan import NEW_PRICE, Catalogue, Listing, Price, Product, Step, kept_price, plan
from handlers.spaces.subject import Row, Subject, ids_of, other_owner
from worker import Drift

MISSING = "missing"
ARCHIVED = "archived though active"
STILL_ACTIVE = "active though archived"
LEFT_ACTIVE = "active though deleted"
AMOUNT = "amount"
CURRENCY = "currency"
NO_PRICE = "no price"
LOOKUP_KEY = "lookup key"
DEFAULT_PRICE = "default price"
SEVERAL_PRICES = "several active prices"
IDS = "ids in the row"
NO_ROW = "product without a row"
UNFIT = "row does not fit"
OTHERS_PRODUCT = "product of another space"

Changed = Mapping[str, tuple[Any, Any]]


def differences(subject: Subject, row: Row | None, has: Catalogue) -> list[Drift]:
    """What differs between a space (row None: it is gone) and what Stripe has for it."""
    product = has.product.id if has.product else None
    if other_owner(subject, has) is not None:
        return [] if subject.listing is None else [_others_product(subject, has)]
    known = {"stripe_product_id": product} if row is None else None
    return [
        Drift(kind=kind, key=subject.key, object=about or product, changed=changed, known=known)
        for kind, about, changed in _kinds(subject, row, has)
    ]


def unfit(key: str, product: str | None, reason: str) -> Drift:
    """An active row that cannot be listed: only a person can fix it."""
    return Drift(kind=UNFIT, key=key, object=product, text=reason, mendable=False)


def without_row(product: Product, prefix: str, marks: set[str]) -> Drift:
    """An active product of ours that no row has. `marks` are those of all rows.

    A product whose metadata names a space is archived by the handler. An id that merely begins as ours do,
    or a second product of a space that has one, is for a person to judge.
    """
    key = product.metadata.get("space_id")
    changed = {"active": (True, False)}
    if key and key not in marks and not is_hashed(key):
        known = {"stripe_product_id": product.id}
        return Drift(kind=LEFT_ACTIVE, key=key, object=product.id, changed=changed, known=known)
    text = f"its space {key} has another product" if key else f"its id begins with {prefix}, and no space has it"
    if key and key not in marks:
        text = "its space is gone, and had a key that is too long for metadata"
    text += ": archive it at Stripe, if it is not wanted"
    return Drift(kind=NO_ROW, key=key, object=product.id, changed=changed, text=text, mendable=False)


def _others_product(subject: Subject, has: Catalogue) -> Drift:
    text = f"it belongs to space {other_owner(subject, has)}: set stripe_product_id of this row to null, or correct it"
    product = has.product.id if has.product else None
    return Drift(kind=OTHERS_PRODUCT, key=subject.key, object=product, text=text, mendable=False)


def _kinds(subject: Subject, row: Row | None, has: Catalogue) -> Iterator[tuple[str, str | None, Changed]]:
    """Kind, object where it is not the product, what differs."""
    steps = plan(subject.listing, has)
    if subject.listing is None:
        yield from ((STILL_ACTIVE if row else LEFT_ACTIVE, None, step.changed) for step in steps)
    elif has.product is None:
        created = {name: pair for step in steps for name, pair in step.changed.items() if pair[1] != NEW_PRICE}
        yield MISSING, subject.listing.key, created
    else:
        for step in steps:
            yield from _of_step(step, subject.listing, has)
        yield from _several(subject.listing, has)
        yield from _ids(subject.listing, row or {}, has)


def _of_step(step: Step, listing: Listing, has: Catalogue) -> Iterator[tuple[str, str | None, Changed]]:
    if step.name == "product.update":
        for name, pair in step.changed.items():
            yield ARCHIVED if name == "active" else name.split(".")[0], None, {name: pair}
    elif step.name == "price.create":
        yield _price_kind(listing, has)
    elif step.name == "price.update":
        yield LOOKUP_KEY, step.target, step.changed
    elif step.name == "product.default_price" and step.params["default_price"] != NEW_PRICE:
        yield DEFAULT_PRICE, None, step.changed


def _price_kind(listing: Listing, has: Catalogue) -> tuple[str, str | None, Changed]:
    """What is wrong with the price that is nearest to the wanted one."""
    default = has.product.default_price if has.product else None
    nearest = max(has.prices, key=lambda p: (p.lookup_key == listing.key, p.id == default, p.currency), default=None)
    if nearest is None:
        return NO_PRICE, None, {"unit_amount": (None, listing.unit_amount), "currency": (None, listing.currency)}
    if nearest.currency != listing.currency:
        return CURRENCY, nearest.id, {"currency": (nearest.currency, listing.currency)}
    return AMOUNT, nearest.id, {"unit_amount": (nearest.unit_amount, listing.unit_amount)}


def _several(listing: Listing, has: Catalogue) -> Iterator[tuple[str, str | None, Changed]]:
    if len(has.prices) > 1:
        kept = kept_price(listing, has)
        yield SEVERAL_PRICES, None, {"prices": (_ids_text(has.prices), kept.id if kept else NEW_PRICE)}


def _ids_text(prices: tuple[Price, ...]) -> str:
    return ", ".join(price.id for price in prices)


def _ids(listing: Listing, row: Row, has: Catalogue) -> Iterator[tuple[str, str | None, Changed]]:
    """Ids that are not yet known, those of a price to be made, cannot differ."""
    product, price = ids_of(listing, has, None)
    right = {"stripe_product_id": product} | ({"stripe_price_id": price} if price else {})
    if changed := {name: (row[name], value) for name, value in right.items() if row[name] != value}:
        yield IDS, None, changed
