"""Telephone numbers as people write them, made comparable: pure, below `matching`.

A number is normalised to E.164 with the region's rules. Eight digits that are no number of the region (an old form, or
one that lost its first digits) are kept as its last eight digits, which is a weaker thing to agree in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import phonenumbers

TAIL = 8
_NOT_DIGITS = re.compile(r"\D")


@dataclass(frozen=True)
class Phone:
    """A number: `e164` when it is one of its country, and its last eight digits."""

    e164: str | None
    tail: str

    def same(self, other: Phone) -> bool:
        """Whether the two are the same number for certain."""
        return self.e164 is not None and self.e164 == other.e164

    def alike(self, other: Phone) -> bool:
        """Whether one is an eight-digit form that the other, or the other's eight-digit form, ends in."""
        return (self.e164 is None or other.e164 is None) and self.tail == other.tail


def read_phone(text: str | None, region: str) -> Phone | None:
    """The number in `text`; None when there is none that could be compared.

    region: two letters, whose rules a number without a country code follows.
    """
    digits = _NOT_DIGITS.sub("", text or "")
    if len(digits) < TAIL:
        return None
    # As the region dials it; or with a country code behind 00, or behind a plus that was left out.
    found = _e164(text or "", region) or _e164(f"+{digits.removeprefix('00')}", region)
    if found is None and len(digits) > TAIL:
        return None
    return Phone(found, digits[-TAIL:])


def _e164(text: str, region: str) -> str | None:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
