"""The listening connection: dedicated, in autocommit, and proven by a NOTIFY to itself that must come back.

`bell` says what to listen to and runs its statements here; trouble ends in a new connection, never in the process.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, LiteralString

import structlog
from psycopg import Error, OperationalError, sql
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from worker.doorbell.waiting import wait_until_set
from worker.errors import DatabaseError
from worker.postgres.database import Connection, Database
from worker.telemetry.error_line import error_line

logger = structlog.get_logger("listener")

NOTIFY: LiteralString = "select pg_notify(%s, '')"
# Shared, because the server may not have noticed yet that the connection before this one is gone.
PRESENT: LiteralString = "select pg_advisory_lock_shared(%s)"
# Seconds between two proofs at most: others count a worker as gone that is silent for three times as long.
LONGEST_CHECK = 5.0
# Seconds in which an answer, or our own NOTIFY, must come.
ANSWER = 5.0
LOST = (Error, OSError)


class Listener:
    """Listens on channels and calls `heard(channel)`; calls `lost()` whenever nothing was heard for a while.

    `state` is connecting, listening or polling (connected, but notifications do not come back: a pooler);
    `worker` is this process's identity: the key of a lock that shows others that it lives, see hearken.worker_lives;
    `proven_at` is when the last NOTIFY to itself came back, in the loop's seconds.
    """

    def __init__(
        self,
        database: Database,
        channels: Iterable[str],
        heard: Callable[[str], None],
        lost: Callable[[], None],
        *,
        check_every: float,
    ) -> None:
        self.state = "connecting"
        self.worker = secrets.randbits(62)
        self.proven_at: float | None = None
        self._database = database
        self._self_channel = f"hearken_self_{uuid.uuid4().hex[:12]}"
        self._channels = [*channels, self._self_channel]
        self._heard = heard
        self._lost = lost
        self._check_every = min(check_every, LONGEST_CHECK)
        self._echo = asyncio.Event()
        self._broken = asyncio.Event()
        self._busy = asyncio.Lock()
        self._connection: Connection | None = None
        self._socket = -1

    @property
    def present(self) -> bool:
        """Whether other workers can see that this one lives."""
        return self.state == "listening"

    async def run(self) -> None:
        """Keep listening until cancelled. Each try looks the server's name up again."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((*LOST, DatabaseError)),
            wait=wait_random_exponential(multiplier=0.1, max=1),
            before_sleep=_say,
        )
        while True:
            try:
                await retrying(self._connect)
                await self._prove()
            except LOST as error:
                logger.warning("listener connection lost, reconnecting", reason=error_line(error))
            finally:
                await self._disconnect()

    async def execute(self, query: LiteralString, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """One statement on the listening connection. Raises psycopg.Error or OSError when it is lost."""
        async with self._busy:
            connection = self._connection
            if connection is None or connection.closed:
                raise OSError("the listening connection is closed")
            self._watch(connection, on=False)  # psycopg waits on the same socket
            try:
                return await (await connection.execute(query, parameters)).fetchall()
            except LOST:
                self._broken.set()
                raise
            finally:
                self._watch(connection, on=True)

    async def _connect(self) -> None:
        connection = await self._database.connect()
        connection.call_timeout = ANSWER
        connection.add_notify_handler(lambda notify: self._receive(notify.channel))
        self._broken.clear()
        self._connection, self._socket = connection, connection.fileno()
        await connection.execute(PRESENT, (self.worker,))
        for channel in self._channels:
            await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))

    async def _prove(self) -> None:
        """Until the connection breaks: a NOTIFY to ourselves now and then, the one proof that we would hear."""
        while not self._broken.is_set():
            self._echo.clear()
            await self.execute(NOTIFY, (self._self_channel,))
            self._judge(await wait_until_set(self._echo, ANSWER))
            await wait_until_set(self._broken, self._check_every)
        raise OperationalError("the connection was ended by the server or by the network")

    def _judge(self, came_back: bool) -> None:
        state = "listening" if came_back else "polling"
        if came_back:
            self.proven_at = asyncio.get_running_loop().time()
        if state == self.state:
            return
        self.state = state
        self._lost()
        if came_back:
            logger.info("listening", channels=len(self._channels))
        else:
            logger.error(
                "notifications do not come back, polling instead: DATABASE_URL seems to point to a pooler in"
                " transaction mode; use the server's own address or the pooler's session mode"
            )

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        self.state, self.proven_at = "connecting", None
        if connection is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            await connection.close()
        self._lost()

    def _watch(self, connection: Connection, *, on: bool) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        if on and not connection.closed:
            loop.add_reader(self._socket, self._readable, connection)
            # What came in together with the statement's answer is off the socket already.
            self._take(connection)

    def _readable(self, connection: Connection) -> None:
        """Something came in between two statements: notifications, or the end of the connection."""
        try:
            connection.pgconn.consume_input()
            self._take(connection)
        except Error:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._broken.set()

    def _take(self, connection: Connection) -> None:
        while notify := connection.pgconn.notifies():
            self._receive(notify.relname.decode())

    def _receive(self, channel: str) -> None:
        if channel == self._self_channel:
            self._echo.set()
        else:
            self._heard(channel)


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome is not None else None
    reason = None if error is None else error_line(error)
    logger.warning("listener cannot connect, retrying", tries=state.attempt_number, reason=reason)
