"""Money on its way to Stripe: a Decimal of the row becomes an integer of minor units, exactly or not at all.

Facts from Stripe's documentation, https://docs.stripe.com/currencies (zero-decimal, three-decimal,
special cases):

- most currencies have two decimals: 25.00 EUR is 2500;
- zero-decimal ones are given as they are: 500 JPY is 500;
- three-decimal ones are given in thousandths whose last digit must be 0: 5.120 KWD is 5120, and 5.124 KWD
  does not exist;
- ISK and UGX have no fractions any more, yet are still given with two decimals that must be 00: 5 ISK is 500.
  (UGX also stands in the zero-decimal list; the special case, being the explicit one, is followed.)
"""

from __future__ import annotations

from decimal import Decimal

ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
THREE_DECIMAL = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
WHOLE_UNITS = frozenset(("isk", "ugx"))


_TEN_TO = (1, 10, 100, 1000)


class AmountError(ValueError):
    """An amount that Stripe cannot charge as it stands. The message never contains the amount."""


def minor_units(amount: Decimal, currency: str) -> int:
    """The `unit_amount` of a price: `amount` in units of `currency` (lower-case ISO code) → minor units.

    Zero is allowed (Stripe: "0 for a free price"). Raises AmountError for an amount that is negative, not a
    number, or finer than the currency's smallest chargeable step: it is never rounded.
    """
    if not amount.is_finite():
        raise AmountError("is not a finite number")
    if amount < 0:
        raise AmountError("is negative")
    exponent, step = _precision(currency)
    numerator, denominator = amount.as_integer_ratio()
    minor, remainder = divmod(numerator * _TEN_TO[exponent], denominator)
    if remainder or minor % step:
        smallest = Decimal(step).scaleb(-exponent)
        raise AmountError(f"would have to be rounded: {currency.upper()} is charged in steps of {smallest}")
    return minor


def _precision(currency: str) -> tuple[int, int]:
    """(decimals, step): amounts are sent in 10**-decimals units and must be multiples of `step` of those."""
    if currency in ZERO_DECIMAL:
        return 0, 1
    if currency in THREE_DECIMAL:
        return 3, 10
    if currency in WHOLE_UNITS:
        return 2, 100
    return 2, 1
