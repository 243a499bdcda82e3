"""What a handler may say about one event: the closed set that `consumer` settles by.

A handler *returns* when its work is done. Everything else is *raised*, from this set:

    Outcome
    ├── Skip         done: nothing to do, for a reason worth keeping
    ├── Retry        a failed attempt: park it, try again later
    ├── Snooze       not now: park it, no attempt used
    ├── Unavailable  the destination is down: park it, and let the handler's circuit count it
    └── Park         dead at once: a person must look

Any other exception is a failed attempt, as `Retry` without a delay of its own.
"""

from __future__ import annotations


class Outcome(Exception):
    """An end of a delivery other than plain success. `reason` is read by operators: no secrets, no row values."""

    #: Whether the event is done with: a later one of its key may come.
    settles = False

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Skip(Outcome):
    """The event needs nothing done, for the reason given."""

    settles = True


class Retry(Outcome):
    """The attempt failed and is worth another, `after` seconds from now (default: the handler's backoff)."""

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Snooze(Outcome):
    """The event is looked at again in `seconds`; no attempt is used."""

    def __init__(self, seconds: float, reason: str = "snoozed by its handler") -> None:
        super().__init__(reason)
        self.seconds = seconds


class Unavailable(Outcome):
    """The destination does not serve us, whatever the event: down, overloaded, or refusing our credentials.

    Enough of these in a row open the handler's circuit (see `circuit`); while it is open no attempt is used.
    `after` is how many seconds the destination asks to wait (Retry-After). With `alarm` the circuit opens at once,
    because only a person can fix it (a revoked key, another account).
    """

    def __init__(self, reason: str, *, after: float | None = None, alarm: bool = False) -> None:
        super().__init__(reason)
        self.after = after
        self.alarm = alarm


class Park(Outcome):
    """The event cannot succeed as things are: dead at once, until a person retries or skips it."""
