"""Promise: a destination that is down is left alone, probed, and taken up again."""

from __future__ import annotations

import pytest

from worker.deliver import circuit
from worker.deliver.circuit import FIRST_PAUSE, LONGEST_PAUSE, THRESHOLD, Circuit


class Clock:
    """The monotonic clock that the circuit reads."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit, "time", clock)
    return clock


def opened(clock: Clock) -> Circuit:
    tripped = Circuit()
    for _ in range(THRESHOLD):
        tripped.failed("down")
    return tripped


def test_it_opens_after_several_failures_in_a_row(clock: Clock) -> None:
    """Fewer, or some with a success between them, are each their own event's trouble."""
    tripped = Circuit()
    for _ in range(3):
        for _ in range(THRESHOLD - 1):
            tripped.failed("down")
        assert (tripped.open, tripped.wait()) == (False, 0.0)
        tripped.succeeded()
    assert (opened(clock).open, opened(clock).reason, opened(clock).wait()) == (True, "down", FIRST_PAUSE)


def test_it_probes_and_waits_twice_as_long_each_time(clock: Clock) -> None:
    """Up to the longest pause; the time it has been open is known."""
    tripped = opened(clock)
    waits = []
    for _ in range(9):
        waits.append(tripped.wait())
        clock.now += tripped.wait()
        assert tripped.wait() == 0.0
        tripped.failed("still down")
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert (tripped.reason, tripped.open_for()) == ("still down", sum(waits))


def test_failures_of_deliveries_that_still_ran_do_not_prolong_the_pause(clock: Clock) -> None:
    """A batch may have thirty running when it opens: that is one failure of the destination."""
    tripped = opened(clock)
    for _ in range(30):
        tripped.failed("down")
    assert tripped.wait() == FIRST_PAUSE
    clock.now += FIRST_PAUSE
    tripped.failed("down")
    assert tripped.wait() == 2 * FIRST_PAUSE


def test_a_success_closes_it_and_forgets(clock: Clock) -> None:
    """The next time it needs as many failures, and pauses as briefly, as the first time."""
    tripped = opened(clock)
    clock.now += 1
    tripped.failed("down")
    tripped.succeeded()
    assert (tripped.open, tripped.reason, tripped.wait(), tripped.open_for()) == (False, None, 0.0, 0.0)
    tripped.failed("down")
    assert not tripped.open
    for _ in range(THRESHOLD - 1):
        tripped.failed("down")
    assert tripped.wait() == FIRST_PAUSE


def test_an_alarm_opens_it_at_once(clock: Clock) -> None:
    """A revoked key needs a person: it is asked seldom."""
    tripped = Circuit()
    tripped.failed("revoked", alarm=True)
    assert (tripped.open, tripped.alarm, tripped.wait()) == (True, True, LONGEST_PAUSE)
    tripped.succeeded()
    assert (tripped.open, tripped.alarm) == (False, False)


def test_the_destination_s_own_wish_is_kept(clock: Clock) -> None:
    """Retry-After counts when it is longer than the pause."""
    for after, wait in [(0.1, FIRST_PAUSE), (30.0, 30.0)]:
        tripped = Circuit(failures=THRESHOLD - 1)
        tripped.failed("busy", after=after)
        assert tripped.wait() == wait
