"""What `@every` declares: a schedule, and a handler of its ticks. Beside `handler`, which it is made of."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, get_args

from worker.declare.cron import CatchUp, Schedule
from worker.declare.handler import Handler, Subscription, refuse
from worker.errors import DeclarationError

# In a leap year: from here on, every time that cron can name comes within the fifty years that are searched.
START = datetime(2024, 2, 29, tzinfo=UTC)


def tick_topic(name: str) -> str:
    """What the ticks of the schedule of that name are about."""
    return f"tick/{name}"


def scheduled(
    function: Callable[..., Awaitable[Any]], name: str | None, cron: str, tz: str, catch_up: CatchUp, **options: Any
) -> Handler:
    """The handler of the ticks of a schedule; `options` are other fields of Handler. Raises DeclarationError.

    Ticks have the schedule's name as their key, so they come in order; unless all are wanted, they fold.
    """
    schedule = Schedule(function.__name__ if name is None else name, cron, tz, catch_up)
    _check(function.__name__, schedule)
    return Handler(
        name=function.__name__,
        function=function,
        subscription=Subscription(tick_topic(schedule.name), ("tick",)),
        fold=catch_up != "all",
        schedule=schedule,
        **options,
    )


def _check(handler: str, schedule: Schedule) -> None:
    for option, value in (("cron", schedule.cron), ("tz", schedule.tz), ("name", schedule.name)):
        if not isinstance(value, str):
            raise refuse(
                handler, f'{option} must be text, not {value!r}: write @every("0 2 * * *", tz="Europe/Berlin")'
            )
    if not re.fullmatch(r"[\w.:-]{1,100}", schedule.name):
        raise refuse(handler, f"name={schedule.name!r} may only contain letters, digits and _ . : - (at most 100)")
    if schedule.catch_up not in get_args(CatchUp):
        raise refuse(handler, f"catch_up={schedule.catch_up!r} is unknown; known: {list(get_args(CatchUp))}")
    try:
        schedule.next(START)
    except DeclarationError as error:
        raise refuse(handler, str(error)) from None
