"""Promise: whatever Stripe has for a space, its plan ends at one product and one active price, then is empty."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.spaces.plan import NEW_PRICE, Catalogue, Listing, Price, Product, Step, kept_price, plan, wanted
from worker.outcomes import Park

METADATA = {"space_id": "1", "capacity": "10", "type": "coworking_space"}
LISTING = Listing("space_1", "Test Space", "A desk", METADATA, "eur", 2500)
ROW = {
    "id": 1,
    "name": "Test Space",
    "description": "A desk",
    "capacity": 10,
    "price_per_hour": Decimal("25.00"),
    "is_active": True,
    "stripe_product_id": None,
    "stripe_price_id": None,
}
PRODUCT = Product("space_1", True, "Test Space", "A desk", METADATA, "price_a")
PRICE = Price("price_a", 2500, "eur", "space_1")
IN_AGREEMENT = Catalogue(PRODUCT, (PRICE,))


def names(steps: list[Step]) -> list[str]:
    return [step.name for step in steps]


def want(row: dict[str, Any] = ROW, currency: str = "eur") -> Listing:
    return wanted(row, "1", prefix="space_", currency=currency)


class Shelf:
    """A catalogue that obeys Stripe's rules, so that a plan's steps can be carried out without a server."""

    def __init__(self, has: Catalogue) -> None:
        self.product = has.product
        self.prices = {price.id: price for price in has.prices}

    def carry_out(self, steps: list[Step]) -> Catalogue:
        for step in steps:
            getattr(self, step.name.replace(".", "_"))(step)
        return Catalogue(self.product, tuple(self.prices.values()))

    def _product(self) -> Product:
        assert self.product is not None
        return self.product

    def product_create(self, step: Step) -> None:
        assert self.product is None
        p = step.params
        self.product = Product(p["id"], True, p["name"], p.get("description", ""), p["metadata"], None)

    def product_update(self, step: Step) -> None:
        metadata = {**self._product().metadata, **step.params.get("metadata", {})}
        kept = {k: v for k, v in metadata.items() if v}
        self.product = replace(self._product(), **{**step.params, "metadata": kept})

    product_archive = product_update

    def product_default_price(self, step: Step) -> None:
        price = step.params["default_price"].replace(NEW_PRICE, "new")
        assert price in self.prices, "a default price must be active"
        self.product = replace(self._product(), default_price=price)

    def price_create(self, step: Step) -> None:
        assert step.params["product"] == self._product().id
        self._take_lookup_key()
        self.prices["new"] = Price("new", step.params["unit_amount"], step.params["currency"], "space_1")

    def price_update(self, step: Step) -> None:
        assert step.target is not None
        self._take_lookup_key()
        self.prices[step.target] = replace(self.prices[step.target], lookup_key=step.params["lookup_key"])

    def price_archive(self, step: Step) -> None:
        assert step.target is not None
        assert self._product().default_price != step.target, "a default price cannot be archived"
        del self.prices[step.target]

    def _take_lookup_key(self) -> None:
        self.prices = {id_: replace(price, lookup_key=None) for id_, price in self.prices.items()}


prices = st.lists(
    st.builds(
        Price,
        st.sampled_from(["price_a", "price_b", "price_c", "price_d"]),
        st.sampled_from([2500, 3000, None]),
        st.sampled_from(["eur", "usd"]),
        st.none(),
    ),
    unique_by=lambda price: price.id,
)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    active, listed = draw(st.tuples(prices, st.booleans()))
    if active and listed:
        active[0] = replace(active[0], lookup_key="space_1")
    product = draw(
        st.none()
        | st.builds(
            Product,
            st.sampled_from(["space_1", "prod_old"]),
            st.booleans(),
            st.sampled_from(["Test Space", "Old name"]),
            st.sampled_from(["", "A desk"]),
            st.sampled_from([METADATA, {}, {"capacity": "3", "theirs": "x"}]),
            st.sampled_from([None, "price_archived", *[price.id for price in active]]),
        )
    )
    return Catalogue(product, tuple(active) if product else ())


@given(has=catalogues())
def test_a_plan_ends_in_agreement_and_the_next_one_is_empty(has: Catalogue) -> None:
    """From any catalogue, by legal steps alone, to exactly the listing; a second run has nothing to write."""
    after = Shelf(has).carry_out(plan(LISTING, has))
    assert plan(LISTING, after) == []
    (price,) = after.prices
    assert (price.unit_amount, price.currency, price.lookup_key) == (2500, "eur", "space_1")
    assert after.product is not None
    assert (after.product.active, after.product.default_price) == (True, price.id)
    if has.product is not None:
        assert after.product.id == has.product.id


@given(has=catalogues())
def test_what_is_gone_is_archived_with_one_write_at_most(has: Catalogue) -> None:
    """An absent listing archives the product, touches no price, and then has nothing more to do."""
    steps = plan(None, has)
    assert names(steps) in ([], ["product.archive"])
    after = Shelf(has).carry_out(steps)
    assert after.product is None or not after.product.active
    assert after.prices == has.prices
    assert plan(None, after) == []


def test_agreement_needs_no_write() -> None:
    """The plan for a catalogue that agrees is empty."""
    assert plan(LISTING, IN_AGREEMENT) == []


def test_a_new_space_is_a_product_a_price_and_their_bond() -> None:
    """In this order, with the deterministic id and a lookup key that is taken over from whoever has it."""
    create, price, default = plan(LISTING, Catalogue(None))
    assert create.params == {
        "id": "space_1",
        "name": "Test Space",
        "description": "A desk",
        "metadata": METADATA,
    }
    assert price.params == {
        "product": "space_1",
        "currency": "eur",
        "unit_amount": 2500,
        "lookup_key": "space_1",
        "transfer_lookup_key": True,
    }
    assert (default.target, default.params) == ("space_1", {"default_price": NEW_PRICE})


def test_a_new_amount_archives_the_old_price_last() -> None:
    """Stripe refuses to archive a default price, so the new one takes its place first."""
    steps = plan(replace(LISTING, unit_amount=3000), IN_AGREEMENT)
    assert names(steps) == ["price.create", "product.default_price", "price.archive"]
    assert steps[2].target == "price_a"


def test_only_fields_that_differ_are_written() -> None:
    """A new name and capacity are one update with just these, each with its value before and after."""
    listing = replace(LISTING, name="New", metadata={**METADATA, "capacity": "12"})
    (step,) = plan(listing, IN_AGREEMENT)
    assert step.params == {"name": "New", "metadata": {"capacity": "12"}}
    assert step.changed == {"name": ("Test Space", "New"), "metadata.capacity": ("10", "12")}


def test_what_has_become_empty_is_unset() -> None:
    """A description or capacity that is gone from the row is gone from the product."""
    listing = replace(LISTING, description="", metadata={**METADATA, "capacity": ""})
    (step,) = plan(listing, IN_AGREEMENT)
    assert step.params == {"description": "", "metadata": {"capacity": ""}}


def test_a_product_that_comes_back_keeps_its_price() -> None:
    """Reactivation is one write when nothing else has changed."""
    (step,) = plan(LISTING, Catalogue(replace(PRODUCT, active=False), (PRICE,)))
    assert (step.name, step.params) == ("product.update", {"active": True})


def test_of_two_right_prices_the_one_with_the_lookup_key_stays() -> None:
    """Duplicates are resolved with the fewest writes."""
    twin = replace(PRICE, id="price_b", lookup_key=None)
    has = Catalogue(PRODUCT, (twin, PRICE))
    assert kept_price(LISTING, has) == PRICE
    assert [(s.name, s.target) for s in plan(LISTING, has)] == [("price.archive", "price_b")]


def test_a_row_asks_for_what_it_says() -> None:
    """Columns become fields of the product; blanks around texts do not count."""
    assert want() == LISTING
    assert want({**ROW, "name": " Test Space ", "description": "A desk\n"}) == LISTING
    assert want({**ROW, "description": None, "capacity": None}) == replace(
        LISTING, description="", metadata={**METADATA, "capacity": ""}
    )
    assert want(currency="jpy").unit_amount == 25


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("price_per_hour", None, "price_per_hour"),
        ("price_per_hour", Decimal("-1"), "price_per_hour is negative"),
        ("price_per_hour", Decimal("25.005"), "price_per_hour would have to be rounded"),
        ("price_per_hour", Decimal("NaN"), "price_per_hour"),
        ("name", None, "name"),
        ("name", "  ", "name"),
        ("capacity", "a hall", "capacity"),
        ("is_active", None, "is_active"),
    ],
)
def test_a_row_that_does_not_fit_is_dead_with_a_reason(column: str, value: object, reason: str) -> None:
    """The reason names the column and never shows its value."""
    with pytest.raises(Park, match=reason) as caught:
        want({**ROW, column: value})
    assert "a hall" not in caught.value.reason
    assert "25.005" not in caught.value.reason


def test_a_missing_column_is_named() -> None:
    """A table that lost a column says which."""
    row = {name: value for name, value in ROW.items() if name != "capacity"}
    with pytest.raises(Park, match="capacity"):
        want(row)
