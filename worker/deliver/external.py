"""Delivering a batch to an external handler: keys side by side, the events of one key in order.

`batch` consumes each delivery as it ends, and settles it.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial

from worker.change import Change, Identity
from worker.declare.handler import Handler
from worker.deliver import runs
from worker.deliver.call import Delivery, attempt, cancelled_itself, delivered
from worker.deliver.context import Context, Services
from worker.deliver.shutdown import Shutdown
from worker.postgres.database import Connection
from worker.telemetry.logs import current, delivery_of

# Seconds that cancelled handlers get to clean up.
CANCEL_GRACE = 1.0


class ExternalDelivery:
    """The deliveries of one batch: iterate over it for those that have ended, a few at a time.

    deadline  when to start nothing more, in the loop's seconds; what was not started comes last, not `attempted`
    shutdown  once begun, nothing more is started; once it cancels, what runs is cancelled
    """

    def __init__(
        self,
        handler: Handler,
        changes: Sequence[Change],
        services: Services,
        claim: Connection,
        deadline: float,
        shutdown: Shutdown,
    ) -> None:
        self._handler = handler
        self._changes = changes
        self._services = services
        self._context = Context(handler.name, services, claim=claim)
        self._deadline = deadline
        self._shutdown = shutdown
        self._queues = deque(_by_key(changes))
        self._stopped = False
        self._cancelled = False
        self._ended: list[Delivery] = []
        self._something_ended = asyncio.Event()

    def stop(self) -> None:
        """Start nothing more; let running deliveries finish."""
        self._stopped = True

    async def __aiter__(self) -> AsyncIterator[list[Delivery]]:
        workers = [asyncio.create_task(self._work()) for _ in range(min(self._handler.concurrency, len(self._queues)))]
        finished: set[int] = set()
        try:
            async for ended in self._watch(workers):
                finished.update(delivery.change.id for delivery in ended)
                yield ended
        finally:
            self._cancelled = True
            for task in workers:
                task.cancel()
        await asyncio.wait(workers, timeout=CANCEL_GRACE)
        for task in workers:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        finished.update(delivery.change.id for delivery in self._ended)
        yield [*self._take(), *(Delivery(c, attempted=False) for c in self._changes if c.id not in finished)]

    async def _watch(self, workers: Sequence[asyncio.Task[None]]) -> AsyncIterator[list[Delivery]]:
        """What has ended, until all workers have, or the shutdown cancels them."""
        for task in workers:
            task.add_done_callback(lambda _task: self._something_ended.set())
        with self._shutdown.calls_on_cancel(self._something_ended.set):
            while not self._shutdown.cancelling and not all(task.done() for task in workers):
                await self._something_ended.wait()
                self._something_ended.clear()
                if self._ended:
                    yield self._take()

    def _take(self) -> list[Delivery]:
        ended, self._ended = self._ended, []
        return ended

    def _may_start(self) -> bool:
        return not (self._stopped or self._shutdown.begun or asyncio.get_running_loop().time() >= self._deadline)

    async def _work(self) -> None:
        while self._queues:
            await self._run_key(self._queues.popleft())

    async def _run_key(self, changes: Sequence[Change]) -> None:
        """Events of one key in order, up to the first that is not done with."""
        for change in changes:
            if not self._may_start():
                return
            delivery = await self._run(change)
            self._ended.append(delivery)
            self._something_ended.set()
            if delivery.outcome is not None and not delivery.outcome.settles:
                # Whoever watches is heard before the next is started: the destination may be down.
                await asyncio.sleep(0)
                return

    async def _run(self, change: Change) -> Delivery:
        current.set(delivery_of(self._handler.name, (change,)))
        if not self._handler.is_table:
            await runs.begin_run(self._services.database, change)
        started_at = time.time()
        try:
            ended = await attempt(self._handler, partial(self._handler.function, change, self._context))
        except asyncio.CancelledError as error:
            if self._cancelled:
                raise
            ended = cancelled_itself(error)
        return delivered(change, ended, started_at)


def _by_key(changes: Iterable[Change]) -> Iterable[list[Change]]:
    keys: dict[Identity, list[Change]] = defaultdict(list)
    for change in changes:
        keys[change.identity].append(change)
    return keys.values()
