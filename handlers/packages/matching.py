"""Which customer of the CRM a profile is: pure; `mapping` asks the CRM and keeps what comes out of here.

E-mail first, then the telephone number: the first of the two that anybody agrees in gives the candidates. Several
are narrowed by the number and by the name; what is then not exactly one is ambiguous, and nobody is chosen.
A name alone finds nobody.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from handlers.packages.phones import Phone, read_phone
from schema.packages.row import Customer, Profile

_CONFIDENCE = {"email": 0.95, "phone": 0.9, "phone tail": 0.7}


@dataclass(frozen=True)
class Candidate:
    """A customer that might be the profile, and in what the two agree."""

    customer: Customer
    agrees: tuple[str, ...]

    def __contains__(self, what: str) -> bool:
        return what in self.agrees


@dataclass(frozen=True)
class Match:
    """The result of matching: a customer, or nobody, with the candidates there were.

    method      what the customer was found by, such as "email" or "phone+name"
    confidence  from 0 to 1
    """

    customer_id: str | None
    method: str | None
    confidence: float | None
    candidates: tuple[Candidate, ...]

    @property
    def ambiguous(self) -> bool:
        return self.customer_id is None and len(self.candidates) > 1


def compare(profile: Profile, customers: Iterable[Customer], region: str) -> list[Candidate]:
    """Those customers that agree with the profile in e-mail or number, each once, with everything they agree in."""
    number, email, name = read_phone(profile.phone_number, region), email_key(profile.email), name_key(profile.name)
    found: dict[str, Candidate] = {}
    for customer in customers:
        agrees = [
            *(["email"] if email and email_key(customer.email) == email else []),
            *_phones(number, read_phone(customer.phone, region)),
            *(["name"] if name and name_key(customer.name) == name else []),
        ]
        if agrees and agrees != ["name"]:
            found[customer.id] = Candidate(customer, tuple(agrees))
    return sorted(found.values(), key=lambda candidate: candidate.customer.id)


def choose(candidates: Sequence[Candidate]) -> Match:
    """The only one of the best candidates, or nobody."""
    for first in _CONFIDENCE:
        pool = [candidate for candidate in candidates if first in candidate]
        if pool:
            return _narrowed(first, pool)
    return Match(None, None, None, ())


def _narrowed(first: str, pool: list[Candidate]) -> Match:
    method, left = first, pool
    for further in ("phone", "phone tail", "name"):
        better = [candidate for candidate in left if further in candidate]
        if len(left) > 1 and better and len(better) < len(left):
            method, left = f"{method}+{further}", better
    if len(left) > 1:
        return Match(None, first, None, tuple(pool))
    return Match(left[0].customer.id, method, _CONFIDENCE[first], tuple(pool))


def _phones(ours: Phone | None, theirs: Phone | None) -> list[str]:
    if ours is None or theirs is None:
        return []
    return ["phone"] if ours.same(theirs) else ["phone tail"] if ours.alike(theirs) else []


def email_key(text: str | None) -> str:
    """An address as it is compared: without blanks around it, and whatever its case."""
    return (text or "").strip().casefold()


def name_key(text: str | None) -> tuple[str, ...]:
    """A name as it is compared: its words in any order, whatever their case, width or spacing."""
    return tuple(sorted(unicodedata.normalize("NFKC", text or "").casefold().split()))
