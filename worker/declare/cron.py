"""When a schedule is due. Pure: instants in, instants out, all aware and in UTC; `ticker` turns them into events.

The rules are Debian cron's, as cronsim has them. At a clock change a schedule with a fixed hour and minute comes once:
what falls into the missing hour comes right after it, what falls into the doubled hour comes the first time. One with a
`*` in its minutes or hours goes by real time. (Where clocks change by half an hour, on Lord Howe Island alone, cronsim
leaves out a time of that day for some of the latter.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from worker.errors import DeclarationError

# How to make up for ticks that were missed because no worker or no database was available: append only the newest,
# all of them, or none.
CatchUp = Literal["one", "all", "skip"]

# How late a tick may be before it counts as missed: a worker is woken, connects, and may be restarted meanwhile.
ON_TIME = timedelta(seconds=30)
# At most this many ticks are appended at once; the rest follows.
MOST = 1000
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Owed:
    """The due times to append as ticks, in order, and the time up to which nothing is owed afterwards."""

    due: list[datetime]
    until: datetime


@dataclass(frozen=True)
class Schedule:
    """A cron expression of five fields, read in the time zone `tz`.

    Its methods raise DeclarationError when the expression or the zone cannot be read.
    """

    name: str
    cron: str
    tz: str = "UTC"
    catch_up: CatchUp = "one"

    def after(self, instant: datetime) -> Iterator[datetime]:
        """The due times later than the instant, in order; endless, unless none comes within fifty years."""
        # Times of the doubled hour are found from anywhere in it, also when they are past.
        return (due for due in self._simulate(instant) if due > instant)

    def next(self, instant: datetime) -> datetime:
        """The first due time later than the instant."""
        due = next(self.after(instant), None)
        if due is None:
            raise DeclarationError(f"schedule {self.name!r}: cron {self.cron!r} never matches any time: correct it")
        return due

    def newest(self, since: datetime, now: datetime) -> datetime | None:
        """The last due time later than `since` and not later than `now`, however many there are."""
        # Stepping back is wrong around clock changes, so it only gives a starting point.
        before = next(self._simulate(now, reverse=True), since)
        newest = None
        for due in self.after(max(since, min(before, now) - SECOND)):
            if due > now:
                break
            newest = due
        return newest

    def owed(self, since: datetime, now: datetime) -> Owed | None:
        """What to append when everything up to `since` is dealt with; None when nothing has come due."""
        if self.catch_up == "all":
            due = [due for due in islice(self.after(since), MOST) if due <= now]
            return Owed(due, due[-1]) if due else None
        newest = self.newest(since, now)
        if newest is None:
            return None
        missed = self.catch_up == "skip" and now - newest > ON_TIME
        return Owed([] if missed else [newest], newest)

    def _simulate(self, instant: datetime, *, reverse: bool = False) -> Iterator[datetime]:
        if len(self.cron.split()) != 5:
            raise DeclarationError(
                f"schedule {self.name!r}: cron {self.cron!r} must have five fields:"
                ' minute, hour, day of month, month, day of week, such as "0 2 * * *"'
            )
        try:
            found = CronSim(self.cron, instant.astimezone(self._zone()), reverse=reverse)
        except CronSimError as error:
            raise DeclarationError(f"schedule {self.name!r}: cron {self.cron!r}: {str(error).lower()}") from None
        return (due.astimezone(UTC) for due in found)

    def _zone(self) -> tzinfo:
        if self.tz == "UTC":
            return UTC
        try:
            return ZoneInfo(self.tz)
        except (KeyError, ValueError, OSError):
            raise DeclarationError(
                f"schedule {self.name!r}: unknown time zone {self.tz!r}: write a name such as Europe/Berlin"
                " (if none is known, install the package tzdata)"
            ) from None
