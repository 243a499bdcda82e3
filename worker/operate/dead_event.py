"""One dead event with everything a person needs to decide about it: for `hearken dead show`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.declare.handler import Handler
from worker.errors import WatchError
from worker.operate.dead import Dead
from worker.operate.row_now import read_row_now

EVENT: LiteralString = """
select p.handler, p.event_id, p.topic, p.key, p.attempt, p.reason, p.error, p.parked_at, e.at, e.op, e.replay_of,
       e.note::text as note_json, e.old::text as old_json, e.new::text as new_json
from hearken.parked p left join hearken.events e on e.topic = p.topic and e.id = p.event_id
where p.handler = %s and p.event_id = %s and p.state = 'dead'
"""
BEHIND: LiteralString = """
select b.event_id, e.at, e.op from hearken.parked p join hearken.parked b
  on b.handler = p.handler and b.slot = p.slot and b.event_id > p.event_id and b.topic = p.topic
     and b.key is not distinct from p.key
left join hearken.events e on e.topic = b.topic and e.id = b.event_id
where p.handler = %s and p.event_id = %s order by b.event_id
"""


@dataclass(frozen=True)
class Examined:
    """A dead event.

    facts   the event as it stands in the log (at and op are None when it is no longer there), and how it was parked
    row     the table's row now, without the columns that no handler may see; None when it is gone
    unread  why the row was not read, if it was not
    behind  the events of its key that wait for it: event_id, at, op
    """

    facts: dict[str, Any]
    row: Mapping[str, Any] | None
    unread: str | None
    behind: list[dict[str, Any]]

    @property
    def parked_at(self) -> datetime:
        at: datetime = self.facts["parked_at"]
        return at


async def examine_dead(
    connection: AsyncConnection[Any], dead: Dead, declared: Mapping[str, Handler]
) -> Examined | None:
    """All about it; None when it is no longer dead."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        facts = await (await cursor.execute(EVENT, (dead.handler, dead.event_id))).fetchone()
        if facts is None:
            return None
        behind = await (await cursor.execute(BEHIND, (dead.handler, dead.event_id))).fetchall()
    try:
        row, unread = await _row_now(connection, facts["topic"], facts["key"], declared)
    except WatchError as error:
        row, unread = None, str(error)
    return Examined(facts, row, unread, behind)


async def _row_now(
    connection: AsyncConnection[Any], topic: str, key: str | None, declared: Mapping[str, Handler]
) -> tuple[Mapping[str, Any] | None, str | None]:
    """The row without excluded columns, which only the declarations know. Raises WatchError."""
    hearing = [handler for handler in declared.values() if handler.topic == topic]
    if key is None or not hearing:
        return None, "the event is not about a row" if key is None else "no handler of its table is declared"
    return await read_row_now(connection, topic, key, hearing), None
