"""Which part of the path has lost a beat that did not come back: the database knows, and `canary` asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg.rows import scalar_row

from worker.declare.builtin import CANARY, TOPIC
from worker.observe.status import HandlerStatus, read_status
from worker.postgres.database import Connection

Part = Literal["trigger", "doorbell", "consumer"]

IN_LOG: LiteralString = """
select exists (select from hearken.events e
               where e.topic = %(topic)s and e.tx between %(tx)s::xid8 and %(tx)s::xid8 and e.key = %(worker)s
               order by e.tx limit 1)
"""


@dataclass(frozen=True)
class Silence:
    """The part that is silent, and what to do. `certain` is False for what may merely be slow."""

    part: Part
    text: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.part}: {self.text}"


async def find_silence(connection: Connection, worker: str, tx: str) -> Silence:
    """Look for the beat that `worker` has sent in the transaction `tx`, and that has not come back.

    Raises psycopg.Error.
    """
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(IN_LOG, {"topic": TOPIC, "tx": tx, "worker": worker})
        (in_log,) = await cursor.fetchall()
    if not in_log:
        return Silence("trigger", "a beat made no event in the log: run `hearken doctor`, which checks the triggers")
    statuses = await read_status(connection, {CANARY.name: CANARY}, most=1)
    return blame(next(status for status in statuses if status.handler == CANARY.name))


def blame(status: HandlerStatus) -> Silence:
    """Who is silent, of those that come after the log."""
    who = ", ".join(status.who)
    if (waits := _waits_for_a_person(status)) is not None:
        return Silence("consumer", waits)
    if status.state == "working":
        return Silence("consumer", f"{who} has claimed the cursor and does not finish", certain=False)
    if status.state == "idle":
        return Silence("doorbell", f"the event is in the log, and {who} sleeps: no notification has woken it")
    return Silence("consumer", "the event is in the log, and no worker has claimed the cursor", certain=False)


def _waits_for_a_person(status: HandlerStatus) -> str | None:
    if not status.enrolled:
        return f"{CANARY.name} has no cursor: run `hearken migrate`"
    if not status.native:
        return "its cursor is from another database: run `hearken rebase`"
    if status.paused is not None:
        return f"paused ({status.paused}): run `hearken resume {CANARY.name}`"
    if status.dead:
        return f"{status.dead} events of {CANARY.name} are dead"
    return None
