"""Finding the object a request names, or refusing in Stripe's words when there is none."""

from __future__ import annotations

from handlers.stripe.local.errors import Refusal, refused
from handlers.stripe.local.store import Shelf, Store, StripeObject


def _shelf(store: Store, kind: str) -> Shelf:
    return store.products if kind == "product" else store.prices


def find(store: Store, kind: str, id_: str, param: str, status: int = 400) -> StripeObject:
    """Return the product or price `id_`; raises Refusal `resource_missing` naming `param`.

    Stripe answers 404 when the id is in the path and 400 when it is a parameter.
    """
    found = _shelf(store, kind).get(id_)
    if found is None:
        raise _missing(store, kind, id_, param, status)
    return found


def _missing(store: Store, kind: str, id_: str, param: str, status: int) -> Refusal:
    message = f"No such {kind}: '{id_}'"
    if store.other is not None and id_ in _shelf(store.other, kind):
        here, there = ("live", "test") if store.livemode else ("test", "live")
        message += f"; a similar object exists in {there} mode, but a {here} mode key was used to make this request."
    return refused(message, param, "resource_missing", status)
