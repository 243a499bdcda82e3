"""Connections to Postgres: where every call gets its timeout, and where a broken one is replaced.

Two pools, because a batch holds a connection while its handlers, who need one each, wait for the outside world:
with one pool, batches could take all of it and wait for themselves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from worker.errors import Unsupported
from worker.postgres.pooler import refuse_shared
from worker.postgres.timeline import read_timeline
from worker.settings import Settings

T = TypeVar("T")

OLDEST_SERVER = 140000
CONNECT_TIMEOUT = 10
# Seconds beyond the server's own timeout until the client gives up: then the server or the network is gone.
GRACE = 5.0

# Keepalives of the server's own: the locks of a worker whose machine is gone must not outlive it for hours.
SESSION: LiteralString = """
select set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false),
       set_config('idle_in_transaction_session_timeout', '0', false), set_config('timezone', 'UTC', false),
       set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false),
       set_config('tcp_keepalives_count', '3', false)
"""
READ_ONLY: LiteralString = "set default_transaction_read_only = on"
# The engine reads by index whatever the values are, so planning anew each time only costs; and a plan made while a
# day's partition was empty must not read it whole when it is full.
BY_INDEX: LiteralString = """
select set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
       set_config('enable_bitmapscan', 'off', false)
"""
CLUSTER: LiteralString = """(
    (select oid from pg_database where datname = current_database())::text || '/' ||
    case when has_function_privilege('pg_control_system()', 'execute')
         then (select system_identifier from pg_control_system())::text else '' end)"""
PLACE: LiteralString = "select pg_backend_pid() as backend, " + CLUSTER + " as cluster"
ORIGIN: LiteralString = "select set_config('hearken.origin', %s, false)"
SERVER: LiteralString = "select pg_is_in_recovery() as replica, current_setting('server_version_num')::int as version"


class Connection(AsyncConnection[DictRow]):
    """A connection on which no call waits forever, also when the other end is silently gone.

    `cluster` says which database this is: transaction ids mean nothing in another one, such as a restored dump's; and
    `timeline` on which of its timelines it is (see `timeline`).
    """

    call_timeout: float = 30.0 + GRACE
    cluster: str = ""
    timeline: str | None = None

    async def wait(
        self,
        gen: Generator[Any, Any, T],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> T:
        limit = self.call_timeout if timeout is None else timeout
        try:
            return await super().wait(gen, interval, timeout=limit)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise  # the caller's own limit, and its to handle
            await self.close()
            raise psycopg.OperationalError(
                f"no answer from the database within {limit:.0f} s: connection closed"
            ) from None


class Database:
    """The process's connections. `open()` never waits for the server, so a worker starts without it.

    read_only  for a preview: no transaction may write, and clients of outside systems must not either
    """

    def __init__(self, settings: Settings, *, application: str = "hearken", read_only: bool = False) -> None:
        self._settings = settings
        self.read_only = read_only
        self._conninfo = psycopg.conninfo.make_conninfo(
            settings.database_url.get_secret_value(),
            application_name=application,
            connect_timeout=CONNECT_TIMEOUT,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
        self.batches = self._pool("batches", settings.batches, self._configure_batches)
        self.work = self._pool("work", settings.connections, self._configure)

    def __repr__(self) -> str:
        return f"Database(batches={self._settings.batches}, connections={self._settings.connections})"

    def _pool(
        self, name: str, size: int, configure: Callable[[Connection], Awaitable[None]]
    ) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "row_factory": dict_row},
            name=name,
            min_size=1,
            max_size=size,
            open=False,
            configure=configure,
            timeout=self._settings.query_timeout,
            max_idle=120,
            reconnect_timeout=30,
        )

    async def _configure(self, connection: Connection) -> None:
        milliseconds = f"{self._settings.query_timeout * 1000:.0f}"
        connection.call_timeout = self._settings.query_timeout + GRACE
        row = await (await connection.execute(PLACE)).fetchone()
        assert row is not None  # noqa: S101  # a select without a table has one row
        await refuse_shared(connection, row["backend"], self._conninfo)
        connection.cluster = row["cluster"]
        connection.timeline = await read_timeline(connection)
        await connection.execute(SESSION, (milliseconds, milliseconds))
        if self.read_only:
            await connection.execute(READ_ONLY)

    async def _configure_batches(self, connection: Connection) -> None:
        await self._configure(connection)
        await connection.execute(BY_INDEX)

    async def open(self) -> None:
        """Start filling the pools, in the background."""
        await self.batches.open(wait=False)
        await self.work.open(wait=False)

    async def close(self) -> None:
        """Close every connection of the pools."""
        await self.batches.close()
        await self.work.close()

    async def connect(self) -> Connection:
        """A connection outside the pools, in autocommit. Raises psycopg.OperationalError, Unsupported."""
        connection = await Connection.connect(self._conninfo, autocommit=True, row_factory=dict_row)
        try:
            await self._configure(connection)
            await self._check_server(connection)
        except BaseException:
            await connection.close()
            raise
        return connection

    @asynccontextmanager
    async def batch(self) -> AsyncIterator[Connection]:
        """A connection for one batch: what is begun in here is committed on leaving, or rolled back on an error."""
        async with self.batches.connection() as connection:
            try:
                yield connection
                await connection.commit()
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                raise

    @asynccontextmanager
    async def connection(self, origin: str | None = None) -> AsyncIterator[Connection]:
        """A connection of its own for a handler's writes, in autocommit.

        With `origin` its changes make no events for the handler of that name.
        """
        async with self.work.connection() as connection:
            if origin is not None:
                await connection.execute(ORIGIN, (origin,))
            try:
                yield connection
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                    await _forget_statements(connection)
                raise
            finally:
                if origin is not None and not connection.closed:
                    await connection.rollback()
                    await connection.execute(ORIGIN, ("",))

    @staticmethod
    async def _check_server(connection: Connection) -> None:
        row = await (await connection.execute(SERVER)).fetchone()
        assert row is not None  # noqa: S101  # a select without a table has one row
        if row["version"] < OLDEST_SERVER:
            raise Unsupported("the server is older than Postgres 14, the oldest supported version: upgrade it")
        if row["replica"]:
            raise Unsupported(
                "DATABASE_URL points to a read replica: use the primary's address, a worker must write its cursors"
            )


async def _forget_statements(connection: Connection) -> None:
    """A statement prepared before a table was altered fails until it is prepared again.

    Not by DEALLOCATE ALL: psycopg looks at the status of a statement's first execution only, and would go on to use
    names that the server has forgotten. With the rollback of a transaction block it forgets them too.
    """
    async with connection.transaction(force_rollback=True):
        pass
