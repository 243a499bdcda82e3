"""Promise: money reaches Stripe exactly, in the currency's minor units, or the event says why it cannot."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.stripe.amounts import THREE_DECIMAL, WHOLE_UNITS, ZERO_DECIMAL, AmountError, minor_units


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("25.00", "eur", 2500),
        ("25", "eur", 2500),
        ("25.0000", "eur", 2500),
        ("2.5E+1", "eur", 2500),
        ("0", "eur", 0),
        ("-0.00", "eur", 0),
        ("0.01", "usd", 1),
        ("500", "jpy", 500),
        ("500.00", "jpy", 500),
        ("5.120", "kwd", 5120),
        ("5.12", "kwd", 5120),
        ("5", "isk", 500),
        ("5", "ugx", 500),
        ("12345678901234567890.12", "eur", 1234567890123456789012),
    ],
)
def test_an_amount_is_converted_exactly(amount: str, currency: str, expected: int) -> None:
    """Each kind of currency gets the integer that Stripe's documentation gives for it."""
    assert minor_units(Decimal(amount), currency) == expected


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        ("25.005", "eur", "steps of 0.01"),
        ("500.5", "jpy", "steps of 1"),
        ("5.124", "kwd", "steps of 0.010"),
        ("5.5", "isk", "steps of 1.00"),
        ("-0.01", "eur", "negative"),
        ("NaN", "eur", "finite"),
        ("sNaN", "eur", "finite"),
        ("Infinity", "eur", "finite"),
    ],
)
def test_an_amount_that_does_not_exist_is_refused_with_a_reason(amount: str, currency: str, reason: str) -> None:
    """Nothing is rounded; the reason names the currency's step and never the amount."""
    with pytest.raises(AmountError, match=reason) as caught:
        minor_units(Decimal(amount), currency)
    assert amount not in str(caught.value)


@given(minor=st.integers(0, 10**12), currency=st.sampled_from(["eur", "usd", "gbp", "huf"]))
def test_every_whole_number_of_cents_survives_the_way_there(minor: int, currency: str) -> None:
    """For two-decimal currencies, minor_units is the exact inverse of dividing by a hundred."""
    assert minor_units(Decimal(minor).scaleb(-2), currency) == minor


def test_the_currency_lists_do_not_overlap() -> None:
    """A currency has one rule."""
    assert not ZERO_DECIMAL & THREE_DECIMAL
    assert not WHOLE_UNITS & (ZERO_DECIMAL | THREE_DECIMAL)
