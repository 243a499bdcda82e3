"""Signs of life on a batch's connection: without them the server ends a transaction that idles (see `session`).

The event loop gives them, so a worker that is frozen, or whose loop is blocked, gives none and loses its claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from worker.doorbell.waiting import wait_until_set
from worker.postgres.database import Connection

# Seconds between two.
SIGN_OF_LIFE = 2.0
HERE: LiteralString = "select 1"


async def give_sign(connection: Connection) -> None:
    """Say that we are here. Raises ConnectionLost, psycopg.Error."""
    await connection.execute(HERE)


@asynccontextmanager
async def signs_of_life(connection: Connection) -> AsyncIterator[None]:
    """While a handler uses the transaction, or does not, now and then."""
    over = asyncio.Event()
    giving = asyncio.create_task(_give_signs(connection, over))
    try:
        yield
    finally:
        over.set()  # and not cancelled: that would cancel the statement, and with it the transaction
        await asyncio.wait({giving})


async def _give_signs(connection: Connection, over: asyncio.Event) -> None:
    while not await wait_until_set(over, SIGN_OF_LIFE) and not connection.closed:
        if connection.lock.locked() or connection.pgconn.pipeline_status is not PipelineStatus.OFF:
            continue  # its user is using it
        if connection.pgconn.transaction_status == TransactionStatus.INTRANS:
            try:
                await give_sign(connection)
            except psycopg.Error:
                return  # whoever uses it next meets the same
