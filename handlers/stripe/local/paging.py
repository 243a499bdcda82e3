"""Lists: newest first, `limit` 1 to 100, cursors in both directions, `created` filters, `has_more`.

As documented at docs.stripe.com/api/pagination: a cursor is an object's id, and an unknown one is refused.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from handlers.stripe.local.errors import invalid
from handlers.stripe.local.lookup import find
from handlers.stripe.local.reader import Reader
from handlers.stripe.local.store import Shelf, Store, StripeObject

PAGE_PARAMS = ("limit", "starting_after", "ending_before", "created", "expand")


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for; `earliest` and `latest` are Unix seconds, both included."""

    limit: int = 10
    starting_after: str | None = None
    ending_before: str | None = None
    earliest: int | None = None
    latest: int | None = None


@dataclass(frozen=True)
class Query:
    """A list request: the kind of object, exact matches, ids to choose among (None: all), and the page."""

    kind: str
    url: str
    page: Page
    where: dict[str, object] = field(default_factory=dict)
    among: list[str] | None = None


def read_page(params: Reader) -> Page:
    """Read the paging parameters and the `created` filter."""
    after, before = params.text("starting_after"), params.text("ending_before")
    if after and before:
        message = "You may only specify one of these parameters: ending_before, starting_after."
        raise invalid(message, "ending_before", "parameters_exclusive")
    earliest, latest = _read_created(params)
    limit = params.integer("limit", minimum=1, maximum=100)
    return Page(limit or 10, after, before, earliest, latest)


def _read_created(params: Reader) -> tuple[int | None, int | None]:
    bounds = params.child("created") if params.is_hash("created") else None
    if bounds is None:
        exact = params.integer("created")
        return exact, exact
    bounds.only(("gt", "gte", "lt", "lte"))
    above, from_ = bounds.integer("gt"), bounds.integer("gte")
    below, until = bounds.integer("lt"), bounds.integer("lte")
    lower = [n for n in (from_, None if above is None else above + 1) if n is not None]
    upper = [n for n in (until, None if below is None else below - 1) if n is not None]
    return max(lower, default=None), min(upper, default=None)


def list_of(store: Store, query: Query) -> StripeObject:
    """Return the list object for `query`; raises Refusal when its cursor names nothing."""
    shelf = store.products if query.kind == "product" else store.prices
    page = query.page
    places = _within(shelf, _candidates(shelf, query), page)
    backwards = page.ending_before is not None
    if page.starting_after:
        after = shelf.place(find(store, query.kind, page.starting_after, "starting_after")["id"])
        places = places[: bisect_left(places, after)]
    if page.ending_before:
        before = shelf.place(find(store, query.kind, page.ending_before, "ending_before")["id"])
        places = places[bisect_right(places, before) :]
    walk = places if backwards else reversed(places)
    found = list(islice(_matching(shelf, walk, query.where), page.limit + 1))
    data = found[: page.limit]
    if backwards:
        data.reverse()
    return {"object": "list", "data": data, "has_more": len(found) > page.limit, "url": query.url}


def _candidates(shelf: Shelf, query: Query) -> list[int]:
    if query.among is not None:
        return sorted(shelf.place(id_) for id_ in set(query.among) if id_ in shelf)
    return shelf.places(query.kind, query.where)


def _within(shelf: Shelf, places: list[int], page: Page) -> list[int]:
    def created(place: int) -> int:
        return int(shelf.at(place)["created"])

    if page.earliest is not None:
        places = places[bisect_left(places, page.earliest, key=created) :]
    if page.latest is not None:
        places = places[: bisect_right(places, page.latest, key=created)]
    return places


def _matching(shelf: Shelf, places: Iterable[int], where: dict[str, object]) -> Iterable[StripeObject]:
    for place in places:
        candidate = shelf.at(place)
        if all(candidate[name] == value for name, value in where.items()):
            yield candidate
