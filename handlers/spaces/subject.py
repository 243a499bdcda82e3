"""One space to look after: what its row asks for. From the row, before `observe` and `plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.spaces.identity import mark_of
from handlers.spaces.plan import Catalogue, Listing, kept_price, wanted
from handlers.stripe import StripeSettings

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Subject:
    """A space: its key, what its row asks for (None: nothing), the product id it names."""

    key: str
    listing: Listing | None
    claimed: str | None


def subject_of(key: str, row: Row | None, known: Row | None, settings: StripeSettings) -> Subject:
    """The space of this key; `known` is the last known state of a row that is gone (None).

    Raises Park for a row that does not fit.
    """
    listing = None
    if row is not None and row["is_active"] is not False:
        listing = wanted(row, key, prefix=settings.prefix, currency=settings.currency)
    return Subject(key, listing, claimed_id(row or known))


def claimed_id(state: Row | None) -> str | None:
    """The product id that a row names."""
    return (state or {}).get("stripe_product_id") or None


def other_owner(subject: Subject, has: Catalogue) -> str | None:
    """The key of another space whose product this says it is (its metadata.space_id), if so."""
    owner = has.product.metadata.get("space_id") if has.product else None
    return owner if owner and owner != mark_of(subject.key) else None


def ids_of(listing: Listing | None, has: Catalogue, new_price: str | None) -> tuple[str | None, str | None]:
    """The ids of the product and of its price that the row should have, None where there is none."""
    if listing is None:
        return has.product.id if has.product else None, None
    kept = kept_price(listing, has)
    return has.product.id if has.product else listing.key, kept.id if kept else new_price
