"""Promise: whatever a handler raises becomes one of the closed set, with a reason that can be stored and a time."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.deliver.settle import backoff
from worker.deliver.verdict import LONGEST_RETRY_AFTER, LONGEST_WISH, verdict
from worker.outcomes import Outcome, Park, Retry, Skip, Snooze, Unavailable
from worker.postgres.storable import LONGEST_REASON, storable_json, storable_text, storable_trace

CLOSED = (Skip, Retry, Snooze, Unavailable, Park)
ANY_TEXT = st.text(alphabet=st.characters())  # surrogates and NUL too
NUMBERS = st.one_of(st.integers(), st.floats(), st.decimals(), st.fractions(), st.timedeltas(), st.booleans())
ANYTHING = st.one_of(st.none(), ANY_TEXT, st.binary(), NUMBERS, st.lists(ANY_TEXT))


class Unspeakable(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class Odd(Retry):
    """A handler's own outcome, whose fields are code that fails."""

    def __init__(self) -> None:
        Exception.__init__(self)

    @property
    def reason(self) -> str:  # type: ignore[override]
        raise KeyboardInterrupt

    @property
    def after(self) -> float:  # type: ignore[override]
        raise MemoryError


def any_of(value: Any) -> Any:
    """The value, where the type of an outcome's field forbids it."""
    return cast(Any, value)


def storable(text: str) -> bool:
    return "\0" not in text and text.encode().decode() == text and len(text) < LONGEST_REASON + 200


@given(reason=ANYTHING, wish=ANYTHING)
def test_every_outcome_can_be_settled_and_stored(reason: Any, wish: Any) -> None:
    """Any object as a reason, any as a time: the outcome is plain, its reason storable, its time a number or none."""
    raised = [Skip(reason), Park(reason), Retry(reason, after=wish), Snooze(wish, reason)]
    for one in [*raised, Unavailable(reason, after=wish, alarm=wish), Outcome(reason)]:
        plain = verdict(one)
        assert type(plain) in CLOSED
        assert storable(plain.reason)
        time = getattr(plain, "after", getattr(plain, "seconds", None))
        assert time is None or 0 <= time <= LONGEST_WISH


@pytest.mark.parametrize("raised", [Odd(), any_of(Park)(Unspeakable()), any_of(Retry)(10**5000)])
def test_an_outcome_whose_own_code_fails_is_one_all_the_same(raised: Outcome) -> None:
    """Properties that raise, a text that cannot be had: a reason says as much as can be said."""
    assert storable(verdict(raised).reason)


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        (30, 30),
        (timedelta(minutes=2), 120),
        (Decimal("1.5"), 1.5),
        (-5, 0),
        (-math.inf, 0),
        (math.inf, LONGEST_WISH),
        (1e15, LONGEST_WISH),
        (10**400, LONGEST_WISH),
        (math.nan, None),
        (Decimal("sNaN"), None),
        ("30", None),
        (None, None),
    ],
)
def test_a_time_is_a_number_of_seconds_or_none(wish: object, seconds: float | None) -> None:
    """What is a length of time counts; what is none gives the handler's backoff, and the reason says so."""
    plain = verdict(Retry("x", after=any_of(wish)))
    assert isinstance(plain, Retry)
    assert plain.after == seconds
    assert ("(a time of" in plain.reason) == (wish is not None and seconds in (None, LONGEST_WISH))


def test_a_destination_that_asks_for_years_is_asked_again_within_the_hour() -> None:
    """A Retry-After that is a Unix timestamp does not put an event aside for decades."""
    plain = verdict(Unavailable("busy", after=1893456000.0))
    assert isinstance(plain, Unavailable)
    assert plain.after == LONGEST_RETRY_AFTER


def test_a_snooze_without_a_time_is_a_failed_attempt() -> None:
    """It would come back for ever, with no attempt used."""
    assert isinstance(verdict(Snooze(any_of("tomorrow"))), Retry)


@given(st.integers(min_value=1, max_value=10**30))
def test_every_number_of_failures_has_its_delay(failures: int) -> None:
    """A handler that retries for ever is never told to wait for longer than an hour and a quarter."""
    assert 0 < backoff(failures) <= 3600 * 1.25


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    """Fifty megabytes of reason are cut in the middle."""
    text = storable_text("a" + "x" * 50_000_000 + "z")
    assert (text[0], text[-1], len(text) < LONGEST_REASON + 60) == ("a", "z", True)


def test_a_traceback_is_told_whatever_the_exception_is() -> None:
    """A text that cannot be had, a group, a cause that is the exception itself, a cause of a cause of a cause …"""
    circle = ValueError("circle")
    circle.__cause__ = circle
    deep: BaseException = ValueError("deepest\0")
    for _ in range(5_000):
        cause, deep = deep, ValueError("deep")
        deep.__cause__ = cause
    for error in (Unspeakable(), circle, deep, ExceptionGroup("two", [circle, Unspeakable()])):
        assert "\0" not in storable_trace(error)
        assert len(storable_trace(error)) < 40_000


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner)))
def test_whatever_an_effect_has_changed_is_json(value: object) -> None:
    """NaN, NUL, bytes, halves of surrogate pairs: what JSON cannot hold is in it as text."""
    document = storable_json(value)
    json.loads(document, parse_constant=pytest.fail)
    assert "\\u0000" not in document.replace("\\\\", "")


def test_what_never_ends_is_json_too() -> None:
    """A circle, a depth of 100,000, a number of 5,000 digits."""
    circle: list[object] = []
    circle.append(circle)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (circle, deep, 10**5000, {"a": Unspeakable()}):
        json.loads(storable_json(value))
