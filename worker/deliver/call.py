"""One call of a handler, and how it ended: what `external` and `transactional` are made of."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError, to_json

from worker.change import Change
from worker.declare.handler import Handler
from worker.errors import ConnectionLost, HearkenError, RowsHidden
from worker.outcomes import Outcome, Park, Retry, Snooze, Unavailable

E = TypeVar("E", bound=BaseException)

# Seconds until a delivery is tried again that has lost a connection of ours.
AFTER_LOSS = 5.0


@dataclass(frozen=True)
class Delivery:
    """The outcome of one event: `outcome` None is success. Without `attempted` it was never started.

    started_at is in seconds of the Unix epoch; result is JSON, kept for runs only.
    """

    change: Change
    outcome: Outcome | None = None
    error: str | None = None
    attempted: bool = True
    started_at: float = 0.0
    result: str | None = None


@dataclass(frozen=True)
class Attempt:
    """How one call of a handler ended: the outcome it raised (None: success), a traceback, what it returned as JSON."""

    outcome: Outcome | None = None
    error: str | None = None
    result: str | None = None


async def attempt(handler: Handler, call: Callable[[], Awaitable[Any]]) -> Attempt:
    """Call the handler once, within its timeout.

    Only the cancellation of this very task passes through.
    """
    try:
        async with asyncio.timeout(handler.timeout) as limit:
            result = await call()
    except Outcome as outcome:
        return Attempt(outcome)
    except TimeoutError as error:
        if limit.expired() and _found(ConnectionLost, error) is None:
            return Attempt(Retry(f"no result within {handler.timeout:g} s"))
        return _failure(error)
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        # SystemExit and the like too: a handler does not decide when the worker ends.
        return _failure(error)
    return Attempt() if result is None else _returned(handler, result)


def _failure(error: BaseException) -> Attempt:
    """An unknown exception is a failed attempt. Its message may hold row values: it goes to the table, not the log.

    What is wrong with our own connections, or with what our role may see, is no fault of the event's: no attempt is
    used.
    """
    text = "".join(traceback.format_exception(error))
    if lost := _found(ConnectionLost, error):
        return Attempt(Snooze(AFTER_LOSS, str(lost)), text)
    if hidden := _found(RowsHidden, error):
        return Attempt(Unavailable(str(hidden), alarm=True), text)
    return Attempt(Retry(str(error) if isinstance(error, HearkenError) else type(error).__qualname__), text)


def _found(kind: type[E], error: BaseException) -> E | None:
    """The error of this kind that `error` is, or came of."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if isinstance(one, kind):
            return one
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            left += [one.__context__, one.__cause__]
            left += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return None


def _returned(handler: Handler, result: Any) -> Attempt:
    """What a run returns is kept with it; of a row's change nobody would read it."""
    if handler.is_table:
        return Attempt(Park(f"returned a {type(result).__name__}: a handler returns None, or raises an outcome"))
    try:
        return Attempt(result=to_json(result).decode())
    except PydanticSerializationError:
        return Attempt(Park(f"returned a {type(result).__name__}, which is not JSON"))


def delivered(change: Change, ended: Attempt, started_at: float) -> Delivery:
    """The delivery of one event that this attempt was."""
    return Delivery(change, ended.outcome, ended.error, started_at=started_at, result=ended.result)
