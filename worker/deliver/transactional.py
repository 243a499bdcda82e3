"""Delivering a batch to a transactional handler: all of it at once, in the batch's own transaction.

If that fails, one event at a time under savepoints, to find the one that is bad.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, LiteralString

from psycopg import OperationalError, Rollback

from worker.change import Change, Identity
from worker.declare.handler import Handler
from worker.deliver.call import Attempt, Delivery, attempt, cancelled_itself, delivered
from worker.deliver.context import Context, Services
from worker.deliver.liveness import signs_of_life
from worker.postgres.database import Connection
from worker.telemetry.logs import current, delivery_of

# What the handler writes makes no events for it; and its statements are planned as anywhere else (see `database`).
SURROUND: LiteralString = """
select set_config('hearken.origin', %s, true), set_config('plan_cache_mode', 'auto', true),
       set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true)
"""
CHECK_CONSTRAINTS: LiteralString = "set constraints all immediate"


async def deliver_batch(
    handler: Handler, changes: Sequence[Change], services: Services, transaction: Connection
) -> list[Delivery]:
    """Deliver to a transactional handler, in the batch's transaction.

    What it sets there holds neither for what follows in this transaction nor for the next batch.
    """
    transaction.worn = True
    await transaction.execute(SURROUND, (handler.name,))
    deliveries = await _deliver(handler, changes, services, transaction)
    await transaction.reset_session()
    return deliveries


async def _deliver(
    handler: Handler, changes: Sequence[Change], services: Services, transaction: Connection
) -> list[Delivery]:
    started_at = time.time()
    ended = await _under_savepoint(handler, changes, services, transaction)
    if ended.outcome is None:
        return [delivered(change, ended, started_at) for change in changes]
    done: list[Delivery] = []
    blocked: set[Identity] = set()
    for change in changes:
        if change.identity in blocked:
            done.append(Delivery(change, attempted=False))
            continue
        started_at = time.time()
        ended = await _under_savepoint(handler, [change], services, transaction)
        done.append(delivered(change, ended, started_at))
        if ended.outcome is not None and not ended.outcome.settles:
            blocked.add(change.identity)
    return done


async def _in_a_task(handler: Handler, call: Callable[[], Coroutine[Any, Any, Any]]) -> Attempt:
    """The attempt in a task of its own: a handler that cancels the task that it is in does not end its consumer."""
    try:
        return await asyncio.create_task(attempt(handler, call))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return cancelled_itself(error)


async def _under_savepoint(
    handler: Handler, changes: Sequence[Change], services: Services, transaction: Connection
) -> Attempt:
    context = Context(handler.name, services, transaction=transaction)

    async def call() -> Any:
        result = await handler.function(changes, context)
        # A deferred constraint must fail here, on these events, not at the commit of everyone's.
        await transaction.execute(CHECK_CONSTRAINTS)
        return result

    token = current.set(delivery_of(handler.name, changes))
    try:
        async with transaction.transaction() as savepoint, signs_of_life(transaction):
            ended = await _in_a_task(handler, call)
            if transaction.closed:
                raise OperationalError("the connection was lost while the handler ran: the batch is rolled back")
            if ended.outcome is not None:
                raise Rollback(savepoint)
    finally:
        current.reset(token)
    return ended
