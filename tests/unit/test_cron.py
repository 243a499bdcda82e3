"""Promise: a schedule is due when cron says so, clock changes included, and what was missed is what its policy says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.declare.cron import MOST, ON_TIME, CatchUp, Owed, Schedule
from worker.errors import DeclarationError

# Berlin's clocks: 29 March 2026 from 02:00 to 03:00 (01:00 UTC), 25 October from 03:00 back to 02:00 (01:00 UTC).
BERLIN = ZoneInfo("Europe/Berlin")
MINUTELY = "* * * * *"
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due(cron: str, since: str, until: str, tz: str = "Europe/Berlin") -> list[str]:
    """The due times after the one instant (UTC) and up to the other, in UTC."""
    return texts(takewhile(lambda time: time <= at(until), Schedule("s", cron, tz).after(at(since))))


def texts(times: Iterable[datetime]) -> list[str]:
    return [time.strftime("%m-%d %H:%M") for time in times]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["03-28 01:30", "03-29 01:00", "03-30 00:30"]),  # 02:30 is missing: right after, at 03:00
        ("0 3 * * *", ["03-28 02:00", "03-29 01:00", "03-30 01:00"]),
        ("30 2,3 29 3 *", ["03-29 01:00", "03-29 01:30"]),
        ("59 1 29 3 *", ["03-29 00:59"]),
    ],
)
def test_what_falls_into_the_missing_hour_comes_right_after_it(cron: str, expected: list[str]) -> None:
    """Once, and the days around it are as ever."""
    assert due(cron, "2026-03-28 00:00", "2026-03-30 12:00") == expected


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("30 2 * * *", ["10-24 00:30", "10-25 00:30", "10-26 01:30"]),  # 02:30 is there twice: the first
        ("0 3 * * *", ["10-24 01:00", "10-25 02:00", "10-26 02:00"]),
        ("0 1 * * *", ["10-24 23:00", "10-26 00:00"]),
    ],
)
def test_what_falls_into_the_doubled_hour_comes_once(cron: str, expected: list[str]) -> None:
    """The first time."""
    assert due(cron, "2026-10-24 00:00", "2026-10-26 12:00") == expected


@pytest.mark.parametrize("since", ["2026-10-25 00:30", "2026-10-25 01:10", "2026-10-25 01:45"])
def test_from_within_the_doubled_hour_the_next_is_tomorrows(since: str) -> None:
    """A worker that starts between 02:30 and 02:30 does not tick again."""
    assert Schedule("s", "30 2 * * *", "Europe/Berlin").next(at(since)) == at("2026-10-26 01:30")
    assert Schedule("s", "30 2 * * *", "Europe/Berlin").newest(at("2026-10-24 12:00"), at(since)) == at(
        "2026-10-25 00:30"
    )


@pytest.mark.parametrize(("day", "ticks"), [("2026-03-29", 46), ("2026-10-25", 50), ("2026-06-01", 48)])
def test_what_repeats_through_the_day_goes_by_real_time(day: str, ticks: int) -> None:
    """Every half hour, on days of 23, 25 and 24 hours."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=BERLIN)
    end = (midnight + DAY).astimezone(UTC)
    times = list(takewhile(lambda t: t < end, Schedule("s", "*/30 * * * *", "Europe/Berlin").after(midnight - SECOND)))
    assert len(times) == ticks
    assert {later - earlier for earlier, later in pairwise(times)} == {30 * MINUTE}


def test_the_leap_day_comes_in_leap_years() -> None:
    """And the last day of a month where it is."""
    leap = Schedule("s", "0 0 29 2 *")
    assert [time.year for time in islice(leap.after(at("2026-01-01")), 3)] == [2028, 2032, 2036]
    last = Schedule("s", "0 0 L * *")
    assert texts(islice(last.after(at("2028-01-01")), 3)) == ["01-31 00:00", "02-29 00:00", "03-31 00:00"]


def test_the_instant_itself_is_past() -> None:
    """Due times are later than the first instant, and not later than the second."""
    schedule = Schedule("s", MINUTELY)
    assert schedule.next(at("2026-01-01 10:00")) == at("2026-01-01 10:01")
    assert schedule.next(at("2026-01-01 10:00") + timedelta(microseconds=1)) == at("2026-01-01 10:01")
    assert schedule.newest(at("2026-01-01 10:00"), at("2026-01-01 10:01")) == at("2026-01-01 10:01")
    assert schedule.newest(at("2026-01-01 10:00"), at("2026-01-01 10:00:59")) is None
    assert schedule.newest(at("2026-01-01 10:00"), at("2026-01-01 09:00")) is None  # the clock was set back


OUTAGE = at("2026-01-01 10:00"), at("2026-01-01 11:00:40")


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("one", Owed([at("2026-01-01 11:00")], at("2026-01-01 11:00"))),
        ("skip", Owed([], at("2026-01-01 11:00"))),
        ("all", Owed([OUTAGE[0] + n * MINUTE for n in range(1, 61)], at("2026-01-01 11:00"))),
    ],
)
def test_after_an_hour_each_policy_owes_its_own(catch_up: CatchUp, expected: Owed) -> None:
    """The newest, none, or all sixty; and with each of them the hour is dealt with."""
    assert Schedule("s", MINUTELY, catch_up=catch_up).owed(*OUTAGE) == expected
    assert Schedule("s", MINUTELY, catch_up=catch_up).owed(expected.until, OUTAGE[1]) is None


def test_a_tick_that_is_only_just_late_is_not_missed() -> None:
    """A worker that is woken, connects, or was restarted meanwhile, is on time for half a minute."""
    schedule, time = Schedule("s", "0 2 * * *", catch_up="skip"), at("2026-01-02 02:00")
    assert schedule.owed(time - DAY, time + ON_TIME) == Owed([time], time)
    assert schedule.owed(time - DAY, time + ON_TIME + SECOND) == Owed([], time)


def test_a_long_outage_is_caught_up_in_parts() -> None:
    """So that no transaction is long; together the parts are all of it."""
    schedule = Schedule("s", MINUTELY, catch_up="all")
    since, now = at("2026-01-01"), at("2026-01-03")
    found: list[datetime] = []
    while owed := schedule.owed(since, now):
        assert len(owed.due) <= MOST
        found += owed.due
        since = owed.until
    assert found == [at("2026-01-01") + n * MINUTE for n in range(1, 2 * 24 * 60 + 1)]


@pytest.mark.parametrize(
    ("cron", "tz", "message"),
    [
        ("* * * *", "UTC", "must have five fields"),
        ("0 * * * * *", "UTC", "must have five fields"),
        ("@daily", "UTC", "must have five fields"),
        ("61 * * * *", "UTC", "cron '61 \\* \\* \\* \\*': bad minute"),
        ("0 0 30 2 *", "UTC", "bad day-of-month"),
        ("* * */20 * 1L", "UTC", "cron .* never matches any time"),
        (MINUTELY, "Europe/Atlantis", "unknown time zone 'Europe/Atlantis': write a name such as Europe/Berlin"),
        (MINUTELY, "../etc", "unknown time zone"),
        (MINUTELY, "Europe", "unknown time zone"),
        (MINUTELY, "", "unknown time zone"),
    ],
)
def test_what_cannot_be_read_is_refused(cron: str, tz: str, message: str) -> None:
    """With the schedule's name, and what is wrong."""
    with pytest.raises(DeclarationError, match=f"schedule 's': .*{message}"):
        Schedule("s", cron, tz).next(at("2026-01-01"))


CRONS = ["30 2 * * *", "0 */2 * * *", "*/20 * * * *", "15 1,2,3 * * *", "0 0 * * *", "0 0 * * 0", "59 23 * * *"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Antarctica/Troll", "America/Santiago"]
# Days around which one of the zones changes its clocks, and others.
STARTS = [f"2026-{day}" for day in ("03-07", "03-28", "04-04", "04-23", "09-05", "10-03", "10-24", "10-31")]


@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    st.sampled_from(STARTS),
    st.integers(0, 3 * 24 * 60),
    st.integers(0, 24 * 60),
)
@settings(max_examples=300, deadline=None)
def test_when_one_looks_changes_nothing(cron: str, tz: str, start: str, minutes: int, more: int) -> None:
    """Due times between two instants are the same in one look or in two, and the newest of them is their last."""
    schedule, since = Schedule("s", cron, tz), at(start)
    middle = since + minutes * MINUTE
    end = middle + more * MINUTE
    whole = list(takewhile(lambda time: time <= end, schedule.after(since)))
    first = list(takewhile(lambda time: time <= middle, schedule.after(since)))
    second = list(takewhile(lambda time: time <= end, schedule.after(middle)))
    assert first + second == whole == sorted(set(whole))
    assert schedule.newest(since, end) == (whole[-1] if whole else None)
