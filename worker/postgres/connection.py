"""One connection of ours: no call on it waits forever, and its errors say when it was lost, or rows were refused.

`database` opens them, `pool` keeps them.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from worker.errors import ConnectionLost, RowsHidden

T = TypeVar("T")

# Seconds unused after which a connection is asked whether it is still there: networks drop idle ones in silence.
TRUSTED_FOR = 10.0
# The function of the server that refuses to hide rows; the message itself may be in any language.
ROW_SECURITY = "check_enable_rls"


class Connection(AsyncConnection[DictRow]):
    """A connection on which no call waits forever, also when the other end is silently gone.

    cluster  says which database this is: transaction ids mean nothing in another one, such as a restored dump's
    timeline says on which of that database's timelines it is, see `timeline`
    clean    the statements that give it back the settings that it was opened with, see `session`
    worn     used by code that is not ours, and not made new: to be closed
    """

    call_timeout: float = 35.0
    cluster: str = ""
    timeline: str | None = None
    clean: bytes = b""
    worn: bool = False
    _used_at: float = 0.0

    async def wait(
        self,
        gen: Generator[Any, Any, T],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> T:
        """Every statement ends here. Raises ConnectionLost, RowsHidden, psycopg.Error."""
        limit = self.call_timeout if timeout is None else timeout
        try:
            answer = await super().wait(gen, interval, timeout=limit)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise  # the caller's own limit, and its to handle
            await self.close()
            raise ConnectionLost(f"no answer from the database within {limit:.0f} s: connection closed") from None
        except psycopg.OperationalError as error:
            if not self.closed and error.diag.severity_nonlocalized not in ("FATAL", "PANIC"):
                raise
            said = error.diag.message_primary or " ".join(str(error).split())
            raise ConnectionLost(f"the connection to the database was lost: {said}") from error
        except psycopg.errors.InsufficientPrivilege as error:
            if error.diag.source_function != ROW_SECURITY:
                raise
            raise RowsHidden(f"{error.diag.message_primary}; {RowsHidden.REMEDY}") from error
        self._used_at = time.monotonic()
        return answer

    async def is_alive(self) -> bool:
        """Whether it can be used; asks the server only when it was unused for a while."""
        try:
            # What the server has said on ending it is read first, then the end itself.
            self.pgconn.consume_input()
            self.pgconn.consume_input()
            if time.monotonic() - self._used_at > TRUSTED_FOR:
                await self.execute("", prepare=False)
        except psycopg.OperationalError:
            return False
        return True

    async def make_new(self) -> None:
        """After code that is not ours has used it: as it was when it was opened, or closed. Raises nothing."""
        try:
            if self.info.transaction_status is TransactionStatus.ACTIVE:
                await self.close()
            if not self.closed:
                await self._restore_options()
                await self.reset_session()
        except psycopg.Error:
            self.worn = True
        except BaseException:
            self.worn = True
            raise
        finally:
            if self.worn:
                await self.close()

    async def reset_session(self) -> None:
        """Take back what was set on the server, in one message. `worn` says whether something is left."""
        cursor = await self.execute(self.clean, prepare=False)
        while cursor.nextset():
            pass
        (row,) = await cursor.fetchall()
        self.worn = row["leftover"]

    async def _restore_options(self) -> None:
        await self.rollback()
        if not self.autocommit or (self.isolation_level, self.read_only, self.deferrable) != (None, None, None):
            await self.set_autocommit(True)
            await self.set_isolation_level(None)
            await self.set_read_only(None)
            await self.set_deferrable(None)
        self.row_factory, self.cursor_factory = dict_row, AsyncCursor

    async def forget_statements(self) -> None:
        """A statement prepared before a table was altered fails until it is prepared again.

        Not by DEALLOCATE ALL: psycopg looks at the status of a statement's first execution only, and would go on to
        use names that the server has forgotten. With the rollback of a transaction block it forgets them too.
        """
        async with self.transaction(force_rollback=True):
            pass
