"""Whether notifications arrive, and how full the server's queue of them is."""

from __future__ import annotations

import asyncio
import secrets
from typing import LiteralString

from psycopg import sql

from worker.doctor.finding import Finding, fine, wrong
from worker.doctor.patient import Patient
from worker.doorbell.listener import NOTIFY

# Seconds in which ours must come back.
NOTIFY_WITHIN = 2.0
# Share of the queue above which something is wrong: it is emptied whenever every listener has read it.
# https://www.postgresql.org/docs/current/sql-notify.html
FULL = 0.1

USAGE: LiteralString = "select pg_notification_queue_usage() as share"


async def check_notifications(patient: Patient) -> list[Finding]:
    """Send one to ourselves, as a worker's listener does."""
    channel = f"hearken_doctor_{secrets.token_hex(4)}"
    loop = asyncio.get_running_loop()
    async with patient.connection() as connection:
        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        sent_at = loop.time()
        await connection.execute(NOTIFY, (channel,))
        heard = [notify async for notify in connection.notifies(timeout=NOTIFY_WITHIN, stop_after=1)]
        took = loop.time() - sent_at
        await connection.execute(sql.SQL("unlisten {}").format(sql.Identifier(channel)))
    if heard:
        return [fine("notifications", f"a test notification came back in {took * 1000:.1f} ms")]
    return [
        wrong(
            "notifications",
            "a test notification did not come back, so workers poll: DATABASE_URL seems to point to a pooler; use the"
            " server's own address, or the pooler's session mode",
        )
    ]


async def check_notification_queue(patient: Patient) -> list[Finding]:
    """A listener that stays in a transaction lets the queue fill; once it is full, no commit that notifies succeeds."""
    share = float((await patient.row(USAGE))["share"])
    text = f"{share:.0%} of the server's queue is in use"
    if share < FULL:
        return [fine("notification queue", text)]
    return [
        wrong(
            "notification queue",
            f"{text}: a listening session has an open transaction; end it (the oldest is under `transactions`)",
        )
    ]
