"""Promise: what is written for an event follows from what its handler said, by rules that can be read in one place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.change import Change
from worker.declare.handler import Handler, Subscription
from worker.deliver.call import Delivery
from worker.deliver.parked import Parking
from worker.deliver.settle import Settlement, backoff, fold, settle
from worker.outcomes import Outcome, Park, Retry, Skip, Snooze, Unavailable


async def function(change: object, ctx: object) -> None: ...


HANDLER = Handler("h", function, Subscription("public.rooms"), attempts=3)


def event(number: int, key: str | None = "1", attempt: int = 1, topic: str = "public.rooms") -> Change:
    return Change(id=number, at=datetime(2026, 1, 1, tzinfo=UTC), topic=topic, op="update", key=key, attempt=attempt)


def settled(*deliveries: Delivery, circuit_open: bool = False) -> Settlement:
    return settle(HANDLER, deliveries, circuit_open=circuit_open)


def one(outcome: Outcome, attempt: int = 1, *, circuit_open: bool = False) -> Parking:
    (parking,) = settled(Delivery(event(1, attempt=attempt), outcome, "trace"), circuit_open=circuit_open).parkings
    return parking


def test_what_is_done_is_done() -> None:
    """Success and Skip leave nothing behind; a skip is told with its reason."""
    skipped = Delivery(event(2), Skip("not ours"))
    assert settled(Delivery(event(1)), skipped) == Settlement([event(1), event(2)], [skipped], [])


@pytest.mark.parametrize(
    ("outcome", "attempt", "state", "failures", "delay", "reason", "error"),
    [
        (Retry("later", after=7), 1, "due", 1, 7, "later", "trace"),
        (Retry("later", after=7), 2, "due", 2, 7, "later", "trace"),
        (Retry("later", after=7), 3, "dead", 3, 0, "later (attempt 3 of 3)", "trace"),
        (Retry("later", after=0), 1, "due", 1, 0, "later", "trace"),
        (Snooze(9, "not now"), 1, "due", 0, 9, "not now", None),
        (Snooze(9, "not now"), 3, "due", 2, 9, "not now", None),
        (Park("cannot be"), 1, "dead", 1, 0, "cannot be", "trace"),
        (Unavailable("down", after=5), 1, "due", 1, 5, "down", "trace"),
        (Unavailable("down", after=5), 3, "dead", 3, 0, "down (attempt 3 of 3)", "trace"),
    ],
)
def test_each_outcome_has_its_parking(
    outcome: Outcome, attempt: int, state: str, failures: int, delay: float, reason: str, error: str | None
) -> None:
    """`attempt` of a parking counts the failed ones; only a failure uses one."""
    assert one(outcome, attempt) == Parking(event(1, attempt=attempt), state, failures, delay, reason, error)


def test_with_the_circuit_open_no_attempt_is_used() -> None:
    """A destination that is down for a day makes no event dead; what fails for its own reasons still does."""
    assert one(Unavailable("down", after=5), 3, circuit_open=True) == Parking(event(1, attempt=3), "due", 2, 5, "down")
    assert one(Unavailable("down"), 3, circuit_open=True).delay == 0
    assert one(Retry("bad"), 3, circuit_open=True).state == "dead"


def test_what_was_not_started_is_due_at_once() -> None:
    """At shutdown or the batch's deadline: with the attempts it had."""
    (parking,) = settled(Delivery(event(1, attempt=2), attempted=False)).parkings
    assert (parking.state, parking.attempt, parking.delay) == ("due", 1, 0)


def test_behind_a_parked_event_its_key_is_held_and_no_other() -> None:
    """In order of the log, however the deliveries come; a key without rows (TRUNCATE) is a key too."""
    settlement = settled(
        Delivery(event(9, None), attempted=False),
        Delivery(event(4, "2")),
        Delivery(event(3, "1"), attempted=False),
        Delivery(event(2, "1", topic="public.plans")),
        Delivery(event(8, None), Retry("x", after=1)),
        Delivery(event(1, "1"), Retry("x", after=1)),
        Delivery(event(5, "1", attempt=2), attempted=False),
    )
    assert [change.id for change in settlement.delivered] == [2, 4]
    assert [(p.change.id, p.state, p.attempt) for p in settlement.parkings] == [
        (1, "due", 1),
        (3, "held", 0),
        (5, "held", 1),
        (8, "due", 1),
        (9, "held", 0),
    ]


def test_a_dead_event_holds_its_key() -> None:
    """Until a person has looked at it: a later event may build on it."""
    settlement = settled(Delivery(event(1), Park("no")), Delivery(event(2), attempted=False))
    assert [p.state for p in settlement.parkings] == ["dead", "held"]


def test_the_delay_doubles_up_to_an_hour() -> None:
    """From two seconds, a quarter more or less, so that what failed together is not retried together."""
    for failures, middle in [(1, 2), (2, 4), (5, 32), (11, 2048), (12, 3600), (500, 3600)]:
        delays = {backoff(failures) for _ in range(200)}
        assert middle * 0.75 <= min(delays) < max(delays) <= middle * 1.25
        assert len(delays) > 100


def test_folding_keeps_the_newest_of_each_key() -> None:
    """In order of the log; keys of different tables are different keys."""
    changes = [
        event(1),
        event(2, "2"),
        event(3),
        event(4, None),
        event(5, "2"),
        event(6, None),
        event(7, "1", topic="a.b"),
    ]
    assert [change.id for change in fold(changes)] == [3, 5, 6, 7]
