"""What a handler raised, made an outcome that can be settled and stored: between `call` and `settle`.

An outcome is user code's: its reason may be anything, its time no number, its class one with properties of its own. So
`settle` never sees it, but one of the closed set with plain fields.
"""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from worker.outcomes import Outcome, Park, Retry, Skip, Snooze, Unavailable
from worker.postgres.storable import storable_text

# Seconds. A handler may wait for a date next year; a destination's Retry-After of more than an hour is no help to
# anybody (some proxies send a Unix timestamp).
LONGEST_WISH = 366 * 86400.0
LONGEST_RETRY_AFTER = 3600.0


def verdict(raised: Outcome) -> Outcome:
    """The outcome as one of the closed set, its reason storable and its time a number of seconds.

    A time that is none is named in the reason, and the handler's backoff is taken; a Snooze with one is a failed
    attempt, or it would come back for ever.
    """
    reason = _reason(raised)
    if isinstance(raised, (Skip, Park)):
        return (Skip if isinstance(raised, Skip) else Park)(reason)
    if isinstance(raised, Snooze):
        seconds, remark = _seconds(_field(raised, "seconds"), LONGEST_WISH)
        return Retry(reason + remark) if seconds is None else Snooze(seconds, reason + remark)
    if isinstance(raised, Unavailable):
        after, remark = _seconds(_field(raised, "after"), LONGEST_RETRY_AFTER)
        return Unavailable(reason + remark, after=after, alarm=_field(raised, "alarm") is True)
    after, remark = _seconds(_field(raised, "after"), LONGEST_WISH)
    return Retry(reason + remark, after=after)


def _reason(raised: Outcome) -> str:
    reason = _field(raised, "reason")
    if reason is None:
        return f"{type(raised).__name__} without a reason"
    if isinstance(reason, BaseException):
        return f"{type(reason).__name__}: {storable_text(reason)}"
    return storable_text(reason)


def _seconds(wish: object, most: float) -> tuple[float | None, str]:
    """So many seconds, none of them before now, and what is to be said when that is not what was wished."""
    if wish is None:
        return None, ""
    if isinstance(wish, timedelta):
        seconds = wish.total_seconds()
    elif isinstance(wish, (int, float, Decimal, Fraction)):
        seconds = _number(wish)
    else:
        seconds = math.nan
    if math.isnan(seconds):
        return None, f" (a time of {storable_text(wish, 40)} is no number of seconds)"
    if seconds > most:
        return most, f" (a time of {storable_text(wish, 40)} s is cut to {most:,.0f} s)"
    return max(0.0, seconds), ""


def _number(wish: float | Decimal | Fraction) -> float:
    try:
        return float(wish)
    except OverflowError:
        return math.inf if wish > 0 else 0.0
    except ValueError:  # a signalling NaN
        return math.nan


def _field(raised: Outcome, name: str) -> object:
    try:
        return getattr(raised, name, None)
    except BaseException:  # a property of the handler's own class
        return None
