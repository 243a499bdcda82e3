"""Running a batch: from events to what became of each. `consumer` settles what comes out of here.

External handlers get events of different keys side by side and those of one key in order; transactional ones get the
whole batch at once, and, if that fails, one event at a time under savepoints, to find the one that is bad.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, LiteralString

from psycopg import OperationalError, Rollback
from pydantic_core import PydanticSerializationError, to_json

from worker.change import Change, Identity
from worker.declare.handler import Handler
from worker.deliver import runs
from worker.deliver.context import Context, Services
from worker.outcomes import Outcome, Park, Retry
from worker.postgres.database import Connection
from worker.telemetry.logs import current

# What the handler writes makes no events for it; and its statements are planned as anywhere else (see `database`).
SURROUND: LiteralString = """
select set_config('hearken.origin', %s, true), set_config('plan_cache_mode', 'auto', true),
       set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true)
"""
CHECK_CONSTRAINTS: LiteralString = "set constraints all immediate"
# Seconds that cancelled handlers get to clean up.
CANCEL_GRACE = 1.0


@dataclass(frozen=True)
class Delivery:
    """What became of one event: `outcome` None is success. Without `attempted` it was never started.

    started_at is in seconds of the Unix epoch; result is JSON, of a run alone.
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


@dataclass(frozen=True)
class Deadline:
    """When to start nothing more (`soft`: asked to stop, or out of time), in the loop's seconds."""

    at: float
    stopping: Callable[[], bool]

    def passed(self) -> bool:
        return self.stopping() or asyncio.get_running_loop().time() >= self.at


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
        if limit.expired():
            return Attempt(Retry(f"no end within {handler.timeout:g} s"))
        return _failure(error)
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise
        # SystemExit and the like too: a handler does not decide when the worker ends.
        return _failure(error)
    return Attempt() if result is None else _returned(handler, result)


def _failure(error: BaseException) -> Attempt:
    """An unknown exception is a failed attempt. Its message may hold row values: it goes to the table, not the log."""
    return Attempt(Retry(type(error).__qualname__), "".join(traceback.format_exception(error)))


def _returned(handler: Handler, result: Any) -> Attempt:
    """What a run returns is kept with it; of a row's change nobody would read it."""
    if handler.is_table:
        return Attempt(Park(f"returned a {type(result).__name__}: a handler returns None, or raises an outcome"))
    try:
        return Attempt(result=to_json(result).decode())
    except PydanticSerializationError:
        return Attempt(Park(f"returned a {type(result).__name__}, which is no JSON"))


async def run_external(
    handler: Handler,
    changes: Sequence[Change],
    services: Services,
    claim: Connection,
    deadline: Deadline,
    cancel: asyncio.Event,
    ended: Callable[[Delivery], None],
) -> list[Delivery]:
    """Deliver to an external handler; `ended` hears of each delivery as it ends.

    Starts nothing after the deadline; `cancel` ends what is still running.
    """
    queues = deque(_by_key(changes))
    done: list[Delivery] = []
    context = Context(handler.name, services, claim=claim)

    async def work() -> None:
        while queues:
            async for delivery in _run_key(handler, queues.popleft(), services, context, deadline):
                done.append(delivery)
                ended(delivery)

    workers = [asyncio.create_task(work()) for _ in range(min(handler.concurrency, len(queues)))]
    await _finish(workers, cancel)
    finished = {delivery.change.id for delivery in done}
    return done + [Delivery(c, attempted=False) for c in changes if c.id not in finished]


def _by_key(changes: Iterable[Change]) -> Iterable[list[Change]]:
    keys: dict[Identity, list[Change]] = defaultdict(list)
    for change in changes:
        keys[change.identity].append(change)
    return keys.values()


async def _run_key(
    handler: Handler, changes: list[Change], services: Services, context: Context, deadline: Deadline
) -> AsyncIterator[Delivery]:
    """Events of one key in order, up to the first that is not done with."""
    for change in changes:
        if deadline.passed():
            return
        current.set((handler.name, (change,)))
        if not handler.is_table:
            await runs.begin_run(services.database, change)
        started_at = time.time()
        ended = await attempt(handler, partial(handler.function, change, context))
        yield _delivered(change, ended, started_at)
        if ended.outcome is not None and not ended.outcome.settles:
            return


def _delivered(change: Change, ended: Attempt, started_at: float) -> Delivery:
    return Delivery(change, ended.outcome, ended.error, started_at=started_at, result=ended.result)


async def _finish(workers: list[asyncio.Task[None]], cancel: asyncio.Event) -> None:
    """Wait for the workers, or cancel them when told to; a handler that ignores its cancellation is left behind."""
    cancelled = asyncio.create_task(cancel.wait())
    try:
        pending: set[asyncio.Task[Any]] = set(workers)
        while pending and not cancelled.done():
            await asyncio.wait({*pending, cancelled}, return_when=asyncio.FIRST_COMPLETED)
            pending = {task for task in pending if not task.done()}
    finally:
        for task in (cancelled, *workers):
            task.cancel()
    await asyncio.wait(workers, timeout=CANCEL_GRACE)
    for task in workers:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def run_transactional(
    handler: Handler, changes: Sequence[Change], services: Services, transaction: Connection
) -> list[Delivery]:
    """Deliver to a transactional handler, in the batch's transaction."""
    await transaction.execute(SURROUND, (handler.name,))
    started_at = time.time()
    ended = await _under_savepoint(handler, changes, services, transaction)
    if ended.outcome is None:
        return [_delivered(change, ended, started_at) for change in changes]
    done: list[Delivery] = []
    blocked: set[Identity] = set()
    for change in changes:
        if change.identity in blocked:
            done.append(Delivery(change, attempted=False))
            continue
        started_at = time.time()
        ended = await _under_savepoint(handler, [change], services, transaction)
        done.append(_delivered(change, ended, started_at))
        if ended.outcome is not None and not ended.outcome.settles:
            blocked.add(change.identity)
    return done


async def _under_savepoint(
    handler: Handler, changes: Sequence[Change], services: Services, transaction: Connection
) -> Attempt:
    context = Context(handler.name, services, transaction=transaction)

    async def call() -> Any:
        result = await handler.function(changes, context)
        # A deferred constraint must fail here, on these events, not at the commit of everyone's.
        await transaction.execute(CHECK_CONSTRAINTS)
        return result

    token = current.set((handler.name, changes))
    try:
        async with transaction.transaction() as savepoint:
            ended = await attempt(handler, call)
            if transaction.closed:
                raise OperationalError("the connection was lost while the handler ran: the batch is rolled back")
            if ended.outcome is not None:
                raise Rollback(savepoint)
    finally:
        current.reset(token)
    return ended
