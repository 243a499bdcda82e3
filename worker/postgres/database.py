"""The process's connections to Postgres: every one is made ours here, and given back clean.

Pools apart, so that nobody waits for himself: a batch holds a connection of `batches` while its handlers, who borrow
from `work`, wait for the outside world; what the engine writes and reads for a delivery goes over `engine`, one
statement at a time. A borrower who has one already and finds `work` used up gets the one in `reserve`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from worker.errors import NotAllowed, Unsupported
from worker.postgres.connection import Connection
from worker.postgres.loaders import register_lenient
from worker.postgres.pool import Pool
from worker.postgres.pooler import refuse_shared
from worker.postgres.session import BATCH, PINNED, READ_ONLY, clean, pin
from worker.postgres.timeline import read_timeline
from worker.settings import Settings

__all__ = ["CLUSTER", "ENGINE", "Connection", "Database"]

OLDEST_SERVER = 140000
CONNECT_TIMEOUT = 10
# Seconds beyond the server's own timeout until the client gives up: then the server or the network is gone.
GRACE = 5.0
# Seconds for which a pool tries to connect before it begins anew: its pauses double, so this is the longest.
RECONNECTING = 1.0
NOTHING: Mapping[str, str] = {}
# Connections for the engine's own statements, which take a moment each.
ENGINE = 2

CLUSTER: LiteralString = """(
    (select oid from pg_database where datname = current_database())::text || '/' ||
    (select system_identifier from pg_control_system())::text)"""
PLACE: LiteralString = "select " + CLUSTER + " as cluster"
MAY_KNOW: LiteralString = """
select pg_backend_pid() as backend, current_user::text as role,
       has_function_privilege('pg_catalog.pg_control_system()', 'execute') as may_know
"""
ORIGIN: LiteralString = "select set_config('hearken.origin', %s, false)"
SERVER: LiteralString = "select pg_is_in_recovery() as replica, current_setting('server_version_num')::int as version"

# How many connections of `work` and `reserve` the code that runs now has borrowed.
_borrowed: ContextVar[int] = ContextVar("borrowed", default=0)


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
            client_encoding="utf8",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        milliseconds = f"{settings.query_timeout * 1000:.0f}"
        limits = {"statement_timeout": milliseconds, "lock_timeout": milliseconds}
        self._session = {**PINNED, **limits, **(READ_ONLY if read_only else {})}
        self.batches = self._pool("batches", settings.batches, also=BATCH)
        self.work = self._pool("work", settings.connections)
        self.engine = self._pool("engine", ENGINE)
        self.reserve = self._pool("reserve", 1, at_least=0)
        self._asked = 0

    def __repr__(self) -> str:
        return f"Database(batches={self._settings.batches}, connections={self._settings.connections})"

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All of them."""
        return self.batches, self.work, self.engine, self.reserve

    def _pool(self, name: str, size: int, *, at_least: int = 1, also: Mapping[str, str] = NOTHING) -> Pool:
        async def configure(connection: Connection) -> None:
            await self._configure(connection, {**self._session, **also})

        return Pool(
            self._conninfo,
            connection_class=Connection,
            kwargs={"autocommit": True, "row_factory": dict_row},
            name=name,
            min_size=at_least,
            max_size=size,
            open=False,
            configure=configure,
            timeout=self._settings.query_timeout,
            max_idle=120,
            reconnect_timeout=RECONNECTING,
        )

    async def _configure(self, connection: Connection, session: Mapping[str, str]) -> None:
        register_lenient(connection)
        connection.call_timeout = self._settings.query_timeout + GRACE
        (row,) = await (await connection.execute(MAY_KNOW)).fetchall()
        await refuse_shared(connection, row["backend"], self._conninfo)
        if not row["may_know"]:
            raise NotAllowed(
                "the database role may not ask which server this is, so a restored copy could not be told from the"
                " original: as a superuser, run: grant execute on function pg_catalog.pg_control_system() to "
                + sql.Identifier(row["role"]).as_string()
            )
        connection.clean = clean(session)
        await connection.execute(pin(session))
        (row,) = await (await connection.execute(PLACE)).fetchall()
        connection.cluster = row["cluster"]
        connection.timeline = await read_timeline(connection)

    async def open(self) -> None:
        """Start filling the pools, in the background."""
        for pool in self.pools:
            await pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection of the pools."""
        for pool in self.pools:
            await pool.close()

    async def connect(self) -> Connection:
        """A connection outside the pools, in autocommit. Raises psycopg.OperationalError, Unsupported."""
        connection = await Connection.connect(self._conninfo, autocommit=True, row_factory=dict_row)
        try:
            await self._configure(connection, self._session)
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
            finally:
                if connection.worn:
                    await connection.close()

    @asynccontextmanager
    async def connection(self, origin: str | None = None) -> AsyncIterator[Connection]:
        """A connection of its own for a handler's writes, in autocommit; whatever is set on it is gone afterwards.

        With `origin` its changes make no events for the handler of that name. Raises ConnectionLost.
        """
        async with self._borrow() as connection:
            try:
                if origin is not None:
                    await connection.execute(ORIGIN, (origin,))
                yield connection
            except BaseException:
                if not connection.closed:
                    await connection.rollback()
                    await connection.forget_statements()
                raise
            finally:
                await connection.make_new()

    @asynccontextmanager
    async def _borrow(self) -> AsyncIterator[Connection]:
        """One of `work`. Who has one already never waits for it, because the others may be doing the same."""
        borrowed = _borrowed.get()
        _borrowed.set(borrowed + 1)
        try:
            if not borrowed or self._asked < self.work.max_size:
                self._asked += 1
                try:
                    async with self.work.connection() as connection:
                        yield connection
                finally:
                    self._asked -= 1
            elif borrowed == 1:
                async with self.reserve.connection() as connection:
                    yield connection
            else:
                async with await self.connect() as connection:
                    yield connection
        finally:
            _borrowed.set(borrowed)

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
