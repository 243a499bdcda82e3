"""Promise: a profile is the customer that it certainly is, or nobody: nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.packages.matching import Match, choose, compare, name_key
from handlers.packages.phones import read_phone
from schema.packages.row import Customer, Profile

JANE = {"name": "Jane Doe", "email": "jane@example.com", "phone": "081-234-5678"}


def match(customers: Sequence[Mapping[str, str]], **profile: str | None) -> Match:
    """What comes of these customers, numbered from 1."""
    who = {"id": "p", "name": None, "email": None, "phone_number": None, **profile}
    rows = [Customer.model_validate({"id": number, **row}) for number, row in enumerate(customers, 1)]
    return choose(compare(Profile.model_validate(who), rows, "TH"))


@pytest.mark.parametrize(
    "text",
    [
        "0812345678",
        "081-234-5678",
        "(081) 234 5678",
        "+66 81 234 5678",
        "66812345678",
        "0066812345678",
        "00166812345678",
        "812345678",
        " 081.234.5678 ",
        "tel:+66-81-234-5678",
        "๐๘๑๒๓๔๕๖๗๘",
    ],
)
def test_a_number_is_the_same_in_every_writing(text: str) -> None:
    """With or without country code, leading zero, and whatever stands between the digits."""
    phone = read_phone(text, "TH")
    assert phone is not None
    assert phone.e164 == "+66812345678"


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        ("9123 4567", "SG", "+6591234567"),
        ("+65 9123 4567", "TH", "+6591234567"),
        ("6591234567", "TH", "+6591234567"),
        ("2 123 4567", "TH", "+6621234567"),
        ("02-123-4567", "TH", "+6621234567"),
        ("30 12 34 56", "DK", "+4530123456"),
    ],
)
def test_eight_digits_are_a_number_where_numbers_have_eight(text: str, region: str, e164: str) -> None:
    """By the rules of the region, or of the country code."""
    phone = read_phone(text, region)
    assert phone is not None
    assert phone.e164 == e164


@pytest.mark.parametrize("text", [None, "", "n/a", "1234567", "081-234-567890123", "0000000000"])
def test_what_is_no_number_is_compared_with_nothing(text: str | None) -> None:
    """Too short, too long, or made up: two people who typed the same nonsense are not the same person."""
    assert read_phone(text, "TH") is None


@pytest.mark.slow
@given(st.text())
def test_any_text_may_stand_where_a_number_should(text: str) -> None:
    """Nothing that people type is an error."""
    read_phone(text, "TH")


def test_one_by_email() -> None:
    """Case and blanks do not count; it is surer than a number."""
    found = match([JANE, {"email": "john@example.com"}], email=" Jane@Example.com ")
    assert (found.customer_id, found.method, found.confidence) == ("1", "email", 0.95)


def test_one_by_number() -> None:
    """Whatever the writing."""
    found = match([JANE, {"phone": "0899999999"}], phone_number="+66812345678")
    assert (found.customer_id, found.method, found.confidence) == ("1", "phone", 0.9)


def test_one_by_an_eight_digit_form() -> None:
    """A number that lost its first digits agrees with what ends in it, less surely than a whole one."""
    found = match([{"phone": "12345678"}], phone_number="081-234-5678")
    assert (found.customer_id, found.method, found.confidence) == ("1", "phone tail", 0.7)
    found = match([JANE, {"phone": "12345678"}], phone_number="081-234-5678")
    assert (found.customer_id, found.method) == ("1", "phone")


def test_two_whole_numbers_are_not_alike_for_their_last_digits() -> None:
    """08 1234 5678 and 09 1234 5678 are two people."""
    assert match([JANE], phone_number="091-234-5678").candidates == ()


def test_the_email_comes_before_the_number() -> None:
    """A number may be a family's: whoever has the address is the one."""
    found = match([{"phone": JANE["phone"]}, {"email": JANE["email"]}], email=JANE["email"], phone_number=JANE["phone"])
    assert (found.customer_id, found.method) == ("2", "email")


def test_two_customers_are_nobody() -> None:
    """Both are candidates, and no mapping comes of them."""
    found = match([JANE, JANE], email="jane@example.com")
    assert (found.customer_id, found.method, found.ambiguous) == (None, "email", True)
    assert [candidate.customer.id for candidate in found.candidates] == ["1", "2"]


def test_a_name_decides_between_two() -> None:
    """Its words in any order; the candidates are kept, all of them."""
    found = match([{**JANE, "name": "John Doe"}, JANE], phone_number="0812345678", name="  doe JANE")
    assert (found.customer_id, found.method, found.confidence) == ("2", "phone+name", 0.9)
    assert len(found.candidates) == 2


def test_a_number_decides_between_two_with_an_address() -> None:
    """As the name would."""
    found = match([{**JANE, "phone": "0899999999"}, JANE], email="jane@example.com", phone_number="0812345678")
    assert (found.customer_id, found.method) == ("2", "email+phone")


def test_a_name_shared_by_both_decides_nothing() -> None:
    """Two of the same name and address are two."""
    assert match([JANE, JANE, {**JANE, "name": "X"}], email="jane@example.com", name="Jane Doe").ambiguous


def test_a_name_alone_finds_nobody() -> None:
    """There are many of every name."""
    assert match([JANE], name="Jane Doe") == Match(None, None, None, ())


def test_a_profile_without_anything_is_nobody() -> None:
    """Empty does not agree with empty."""
    assert match([{"name": "", "email": "", "phone": ""}, {}], name="", email="", phone_number="").candidates == ()


@given(st.text())
def test_a_name_is_itself(name: str) -> None:
    """Any name can be compared, and is the same with other spaces around it."""
    assert name_key(name) == name_key(f"  {name} ")
