"""The glossary has the words of the code."""

from __future__ import annotations

import re

import worker
from tests.support.pages import page

PAGE = page("docs/glossary.md")


def test_every_word_of_the_engine_is_explained_once() -> None:
    """Those with which `worker/__init__.py` opens, and what each is called elsewhere."""
    rows = PAGE.table("word")
    words = [row[0] for row in rows]
    assert len(words) == len(set(words))
    assert all(len(row) == 3 and all(row) for row in rows)
    assert worker.__doc__
    assert set(re.findall(r"^([a-z]+)  +\S", worker.__doc__, re.MULTILINE)) <= set(words)


def test_the_terms_of_the_field_lead_to_ours() -> None:
    """Who searches for one of these finds our word."""
    elsewhere = {row[0]: row[2] for row in PAGE.table("word")}
    for word, term in {
        "park": "retry queue",
        "dead": "dead letter",
        "circuit": "circuit breaker",
        "cursor": "checkpoint",
        "claim": "lease",
        "effect": "idempotency keys",
        "doorbell": "LISTEN/NOTIFY",
        "log": "change data capture",
    }.items():
        assert term in elsewhere[word]
