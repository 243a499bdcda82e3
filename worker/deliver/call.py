"""One call of a handler, and how it ended: what `external` and `transactional` are made of."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import to_json

from worker.change import Change
from worker.declare.handler import Handler
from worker.deliver.verdict import verdict
from worker.errors import ConnectionLost, DeliveryLost, HearkenError, RowsHidden
from worker.outcomes import Outcome, Park, Retry, Snooze, Unavailable
from worker.postgres.storable import storable_text, storable_trace

E = TypeVar("E", bound=BaseException)

# Seconds until a delivery is tried again that has lost a connection of ours.
AFTER_LOSS = 5.0
# Characters of JSON. Whoever asks for a run gets its result whole.
LONGEST_RESULT = 1_000_000


@dataclass(slots=True)
class Delivery:
    """The outcome of one event: `outcome` None is success. Without `attempted` it was never started.

    The outcome is a `verdict`, so that all of it can be stored.
    started_at is in seconds of the Unix epoch; result is JSON, kept for runs only.
    """

    change: Change
    outcome: Outcome | None = None
    error: str | None = None
    attempted: bool = True
    started_at: float = 0.0
    result: str | None = None


@dataclass(slots=True)
class Attempt:
    """How one call of a handler ended: the outcome it raised (None: success), a traceback, what it returned as JSON."""

    outcome: Outcome | None = None
    error: str | None = None
    result: str | None = None


async def attempt(handler: Handler, function: Callable[..., Coroutine[Any, Any, Any]], *arguments: Any) -> Attempt:
    """Call the handler's function once, within its timeout.

    Its first step is run at once; a timer is only made for what then waits for something.

    Only a cancellation of this very task passes through, be it the handler's own: see `cancelled_itself`.
    """
    limit = None
    try:
        coroutine = function(*arguments)
        try:
            yielded = coroutine.send(None)
        except StopIteration as ended:
            result = ended.value
        else:
            async with asyncio.timeout(handler.timeout) as limit:
                result = await go_on(coroutine, yielded)
    except Outcome as raised:
        return Attempt(verdict(raised))
    except TimeoutError as error:
        if limit is not None and limit.expired() and _found(ConnectionLost, error) is None:
            return Attempt(Retry(f"no result within {handler.timeout:g} s"))
        return _failure(error)
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        # SystemExit and the like too: a handler does not decide when the worker ends.
        return _failure(error)
    return Attempt() if result is None else _returned(handler, result)


@types.coroutine
def go_on(coroutine: Coroutine[Any, Any, Any], yielded: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine to its end that has begun, and waits for what it has yielded."""
    while True:
        try:
            sent = yield yielded
        except BaseException as error:
            step: Callable[[Any], Any] = coroutine.throw
            sent = error
        else:
            step = coroutine.send
        try:
            yielded = step(sent)
        except StopIteration as ended:
            return ended.value


def cancelled_itself(error: asyncio.CancelledError) -> Attempt:
    """For whoever knows that nobody but the handler has cancelled the task that it ran in."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
    return _failure(error)


def _failure(error: BaseException) -> Attempt:
    """An unknown exception is a failed attempt. Its message may hold row values: it goes to the table, not the log.

    What is wrong with our own connections, or with what our role may see, is no fault of the event's: no attempt is
    used.
    """
    trace = storable_trace(error)
    if lost := _found(ConnectionLost, error) or _found(DeliveryLost, error):
        return Attempt(Snooze(AFTER_LOSS, storable_text(lost)), trace)
    if hidden := _found(RowsHidden, error):
        return Attempt(Unavailable(storable_text(hidden), alarm=True), trace)
    return Attempt(Retry(storable_text(error if isinstance(error, HearkenError) else type(error).__qualname__)), trace)


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
    kind = storable_text(type(result).__name__)
    if handler.is_table:
        return Attempt(Park(f"returned a {kind}: a handler returns None, or raises an outcome"))
    if isinstance(result, Iterator):  # which may have no end
        return Attempt(Park(f"returned a {kind}, which is not JSON"))
    try:
        document = to_json(result).decode()
        json.loads(document, parse_constant=_refuse)  # so that whoever asks for the run can read it
    except BaseException:  # code of the result's own classes, or no JSON: a NaN, a circle, bytes, too many digits
        return Attempt(Park(f"returned a {kind}, which is not JSON"))
    if len(document) > LONGEST_RESULT:
        return Attempt(Park(f"returned {len(document):,} characters of JSON: at most {LONGEST_RESULT:,} are kept"))
    return Attempt(result=document)


def _refuse(constant: str) -> None:
    """JSON has no NaN and no infinity, though Python writes and reads them."""
    raise ValueError(constant)


def delivered(change: Change, ended: Attempt, started_at: float) -> Delivery:
    """The delivery of one event that this attempt was."""
    return Delivery(change, ended.outcome, ended.error, started_at=started_at, result=ended.result)
