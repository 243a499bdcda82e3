"""What the local Stripe holds: products and prices of one mode, in order of creation, with indexes.

Objects are never changed in place: an operation puts a new version. So a snapshot is a copy of references,
and an answer that was remembered keeps what it said. No call scans a whole shelf for a product's prices, a
lookup key or the next page; that is what the indexes are for.
"""

from __future__ import annotations

import secrets
import string
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

StripeObject: TypeAlias = dict[str, Any]

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int) -> str:
    """Return a random id of Stripe's form, such as `price_1` and 23 letters or digits."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Shelf:
    """Objects of one kind by id, and their places (numbers in order of creation) by indexed field."""

    def __init__(self, *indexed: str) -> None:
        self._indexed = ("object", *indexed)
        self._objects: dict[str, StripeObject] = {}
        self._place: dict[str, int] = {}
        self._id_at: dict[int, str] = {}
        self._index: defaultdict[tuple[str, object], list[int]] = defaultdict(list)
        self._next = 0

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[StripeObject]:
        """Iterate over the objects, oldest first."""
        return iter(self._objects.values())

    def __contains__(self, id_: str) -> bool:
        return id_ in self._objects

    def __getitem__(self, id_: str) -> StripeObject:
        return self._objects[id_]

    def get(self, id_: str) -> StripeObject | None:
        """Return the object, or None."""
        return self._objects.get(id_)

    def put(self, new: StripeObject) -> StripeObject:
        """Add the object, or replace its earlier version, and return it."""
        id_ = new["id"]
        old = self._objects.get(id_)
        if old is None:
            self._place[id_] = self._next
            self._id_at[self._next] = id_
            self._next += 1
        self._objects[id_] = new
        for name in self._indexed:
            if old is None:
                self._enter(name, new[name], self._place[id_])
            elif old[name] != new[name]:
                self._leave(name, old[name], self._place[id_])
                self._enter(name, new[name], self._place[id_])
        return new

    def remove(self, id_: str) -> None:
        """Forget the object."""
        old, place = self._objects.pop(id_), self._place.pop(id_)
        del self._id_at[place]
        for name in self._indexed:
            self._leave(name, old[name], place)

    def _enter(self, name: str, value: object, place: int) -> None:
        insort(self._index[name, value], place)

    def _leave(self, name: str, value: object, place: int) -> None:
        places = self._index[name, value]
        del places[bisect_left(places, place)]
        if not places:
            del self._index[name, value]

    def place(self, id_: str) -> int:
        """Return the number of the object in order of creation."""
        return self._place[id_]

    def at(self, place: int) -> StripeObject:
        """Return the object of that number."""
        return self._objects[self._id_at[place]]

    def places(self, kind: str, where: dict[str, object]) -> list[int]:
        """Return the places of the smallest index among `where`, ascending; not every one need match.

        `kind` is the `object` field all of the shelf has. The list is the index itself: do not change it.
        """
        found = (self._index.get((name, value), []) for name, value in where.items() if name in self._indexed)
        return min(found, key=len, default=self._index.get(("object", kind), []))

    def first(self, name: str, value: object) -> StripeObject | None:
        """Return the oldest object whose indexed field has the value, or None."""
        places = self._index.get((name, value))
        return self.at(places[0]) if places else None


class Store:
    """The catalogue of one account in one mode (test or live), and its clock in whole seconds."""

    def __init__(self, account: str, livemode: bool, clock: Callable[[], float]) -> None:
        self.account = account
        self.livemode = livemode
        self.products = Shelf("active")
        self.prices = Shelf("active", "product", "lookup_key")
        self.other: Store | None = None
        self._clock = clock
        self._latest = 0

    def now(self) -> int:
        """Return the time in Unix seconds; it never runs backwards, so order of creation is order of time."""
        self._latest = max(self._latest, int(self._clock()))
        return self._latest

    def dump(self) -> dict[str, list[StripeObject]]:
        """Return every object, oldest first: copies of the lists, not of the objects."""
        return {"products": list(self.products), "prices": list(self.prices)}

    def load(self, dumped: dict[str, list[StripeObject]]) -> None:
        """Take in what `dump` returned."""
        for product in dumped["products"]:
            self.products.put(product)
        for price in dumped["prices"]:
            self.prices.put(price)
