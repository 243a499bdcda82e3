"""Whether this worker can do its work, and how its handlers stand: what /readyz and /health show.

What is asked of the database goes over a connection of its own, is bounded in time and size, and is asked at most once
a second, however many probes there are. While the database is unreachable one check says why, and the others that they
cannot know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import LiteralString

from worker.declare.extensions import Readiness
from worker.declare.registry import Registry
from worker.deliver.consumer import Consumer
from worker.deliver.context import Services
from worker.doorbell.listener import ANSWER, Listener
from worker.errors import CheckFailed
from worker.install.migrate import Pending, find_pending
from worker.install.privileges import require_rights
from worker.install.row_security import require_every_row
from worker.log.failover import open_failovers
from worker.observe.checks import FRESH, CheckResult, ReadinessCheck, Remembered
from worker.observe.stalls import judge_alone, judge_schedules, judge_status, summary, unmoved
from worker.observe.status import HandlerStatus, read_status
from worker.postgres.own_connection import Inspection
from worker.settings import Settings

# Seconds for what is asked of the database (more than Inspection's, so that its errors are heard), and of others.
DATABASE_PATIENCE = 4.0
ANSWER_WITHIN = 8.0
# Seconds that an answer is good for that changes when a person changes it.
RARELY = 10.0
# How many undelivered events are counted at most, per cursor.
COUNTED = 10_000

PING: LiteralString = """
select current_setting('server_version') as version, current_setting('transaction_read_only') = 'on' as read_only
"""


class Health:
    """The checks of one worker. `not_ready` says why it does not work, while it starts or stops."""

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        services: Services,
        listener: Listener,
        consumers: Sequence[Consumer],
        not_ready: Callable[[], str | None],
    ) -> None:
        self.consumers = {
            name: [consumer for consumer in consumers if consumer.handler.name == name] for name in registry.handlers
        }
        self.listener = listener
        self._registry = registry
        self._settings = settings
        self._services = services
        self._not_ready = not_ready
        self.inspection = Inspection(services.database)
        self._pending = Remembered(self._find_pending, fresh=FRESH, patience=DATABASE_PATIENCE)
        self._statuses = Remembered(self._read_statuses, fresh=FRESH, patience=DATABASE_PATIENCE)
        self._database = ReadinessCheck("database", self._ping, patience=DATABASE_PATIENCE)
        self._checks = [*self._engine_checks(), *self._declared_checks(), *self._handler_checks()]

    def add(self, name: str, question: Callable[[], Awaitable[str]]) -> None:
        """One more check, asked again each time."""
        self._checks.append(ReadinessCheck(name, question, patience=ANSWER_WITHIN, fresh=0.0))

    async def answers(self) -> list[CheckResult]:
        """Every check's answer. They are asked side by side."""
        return await asyncio.gather(*(check.answer() for check in self._checks))

    async def statuses(self) -> list[HandlerStatus]:
        """How far each cursor has come. Raises CheckFailed while the database is unreachable, psycopg.Error."""
        return await self._statuses.get()

    async def close(self) -> None:
        """Stop asking, and close the connection."""
        for check in self._checks:
            await check.close()
        await self._pending.close()
        await self._statuses.close()
        await self.inspection.close()

    def _engine_checks(self) -> Iterator[ReadinessCheck]:
        yield ReadinessCheck("worker", self._work, patience=ANSWER_WITHIN, fresh=0.0)
        yield self._database
        yield ReadinessCheck("rights", self._rights, patience=2 * DATABASE_PATIENCE, fresh=RARELY)
        yield ReadinessCheck("migrations", self._migrations, patience=2 * DATABASE_PATIENCE)
        yield ReadinessCheck("failover", self._failover, patience=2 * DATABASE_PATIENCE)
        yield ReadinessCheck("triggers", self._triggers, patience=2 * DATABASE_PATIENCE)
        yield ReadinessCheck("listener", self._listening, patience=ANSWER_WITHIN, fresh=0.0)

        if any(handler.schedule for handler in self._registry.handlers.values()):
            yield ReadinessCheck("schedules", self._schedules, patience=2 * DATABASE_PATIENCE, fresh=0.0)

    def _declared_checks(self) -> Iterator[ReadinessCheck]:
        for readiness in self._registry.checks:
            yield ReadinessCheck(readiness.name, partial(self._declared, readiness), patience=ANSWER_WITHIN)

    def _handler_checks(self) -> Iterator[ReadinessCheck]:
        for name in self._registry.handlers:
            yield ReadinessCheck(
                f"handler {name}", partial(self._handler, name), patience=2 * DATABASE_PATIENCE, fresh=0.0
            )

    async def _work(self) -> str:
        if (reason := self._not_ready()) is not None:
            raise CheckFailed(reason)
        return f"running, with {len(self._registry.handlers)} handlers"

    async def _ping(self) -> str:
        loop = asyncio.get_running_loop()
        async with self.inspection.connection() as connection:
            asked_at = loop.time()
            row = await (await connection.execute(PING)).fetchone()
        assert row is not None  # noqa: S101  # a select without a table has one row
        if row["read_only"]:
            raise CheckFailed("is read-only (a replica, or set so): a worker must write its cursors")
        return f"Postgres {row['version']} answered in {(loop.time() - asked_at) * 1000:.1f} ms"

    async def _need_database(self) -> None:
        if not (await self._database.answer()).ok:
            raise CheckFailed("not known while the database is unreachable")

    async def _find_pending(self) -> Pending:
        await self._need_database()
        async with self.inspection.connection() as connection:
            return await find_pending(connection, self._registry)

    async def _read_statuses(self) -> list[HandlerStatus]:
        await self._need_database()
        async with self.inspection.connection() as connection:
            return await read_status(connection, self._registry.handlers, most=COUNTED)

    async def _rights(self) -> str:
        await self._need_database()
        async with self.inspection.connection() as connection:
            await require_rights(connection, self._registry.handlers.values())
            await require_every_row(connection, self._registry)
        return "the role may do a worker's work, and sees every row"

    async def _migrations(self) -> str:
        pending = await self._pending.get()
        lines = Pending(migrations=pending.migrations, enrolments=pending.enrolments).lines()
        if lines:
            raise CheckFailed(f"run `hearken migrate`; pending: {'; '.join(lines)}")
        return "applied, and every handler has its cursor"

    async def _failover(self) -> str:
        await self._need_database()
        async with self.inspection.connection() as connection:
            noticed = await open_failovers(connection)
        if any(one.events for one in noticed):
            raise CheckFailed(f"{'; '.join(map(str, noticed))}: run `hearken failover`")
        return "; ".join(map(str, noticed)) or "none is open"

    async def _triggers(self) -> str:
        pending = await self._pending.get()
        if pending.migrations:
            raise CheckFailed("not known before the migrations are applied")
        if pending.triggers:
            raise CheckFailed(f"run `hearken migrate`; {'; '.join(map(str, pending.triggers))}")
        return "current"

    async def _listening(self) -> str:
        listener = self.listener
        if listener.state == "polling":
            return "polling: notifications do not come back, DATABASE_URL seems to point to a pooler"
        if listener.state != "listening" or listener.proven_at is None:
            raise CheckFailed("the listening connection is being opened: until then changes are found by polling")
        age = asyncio.get_running_loop().time() - listener.proven_at
        if age > self._settings.listen_check + 2 * ANSWER:
            raise CheckFailed(f"no test notification came back for {age:.0f} s")
        return f"listening, last verified {age:.0f} s ago"

    async def _schedules(self) -> str:
        return judge_schedules(self._registry.handlers, await self.statuses(), self._settings.stalled_after)

    async def _declared(self, readiness: Readiness) -> str:
        return await readiness.check(self._services.resources[readiness.resource])

    async def _handler(self, name: str) -> str:
        consumers, stalled_after = self.consumers[name], self._settings.stalled_after
        handler = self._registry.handlers[name]
        if not handler.is_table:  # a run may be one long call, as long as its timeout lets it
            stalled_after = max(stalled_after, handler.timeout)
        for consumer in consumers:
            judge_alone(consumer, stalled_after)
        still = [consumer for consumer in consumers if unmoved(consumer, stalled_after)]
        if not still:
            return summary(consumers)
        statuses = {status.shard: status for status in await self.statuses() if status.handler == name}
        said = set()
        for consumer in still:
            if (status := statuses.get(consumer.shard)) is None or not status.enrolled:
                raise CheckFailed("has no cursor: run `hearken migrate`")
            said.add(judge_status(consumer, status, stalled_after))
        return ", ".join(sorted(said))
