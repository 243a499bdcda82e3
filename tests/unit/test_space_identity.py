"""Promise: a space with any key has a name at Stripe that Stripe takes, always the same, and no two have one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from handlers.spaces.identity import mark_of, stripe_id

KEYS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ACCEPTED = re.compile(r"space_[A-Za-z0-9_-]{1,194}")


@given(KEYS)
def test_any_key_has_a_name(key: str) -> None:
    """Slashes, dots, line breaks, other alphabets, nothing at all."""
    assert ACCEPTED.fullmatch(stripe_id("space_", key))
    assert len(mark_of(key)) <= 500


def test_usual_keys_are_names_as_they_are() -> None:
    """Numbers and UUIDs, and so every product that was made before."""
    for key in ("42", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "room_1"):
        assert (stripe_id("space_", key), mark_of(key)) == (f"space_{key}", key)


@given(KEYS, st.integers(min_value=0, max_value=3000))
def test_no_two_keys_have_one_name(key: str, length: int) -> None:
    """Nor can a key be written so that it is taken for the hash of another."""
    key = key + "x" * length
    posing = stripe_id("", key)
    for name in (lambda k: stripe_id("space_", k), mark_of):
        assert posing == key or name(posing) != name(key)
