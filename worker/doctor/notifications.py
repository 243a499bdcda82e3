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

SILENT: LiteralString = """
select current_database() as name, current_setting('max_prepared_transactions') <> '0'
       and coalesce(current_setting('hearken.two_phase', true), '') <> 'off' as silent
"""
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
        text = f"a test notification came back in {took * 1000:.1f} ms"
        server = await patient.row(SILENT)
        if server["silent"]:
            text += (
                "; transactions can be prepared here (max_prepared_transactions), so triggers do not notify and workers"
                f" look twice a second. If nobody prepares any: alter database {server['name']} set"
                " hearken.two_phase = off"
            )
        return [fine("notifications", text)]
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
