"""Noticing that the database failed over, and that events which handlers had been given are gone with it.

A standby that lags is promoted without what it had not received. Cursors, parked events and the ledger of effects are
set back with the log, so they agree with it; what handlers did outside is not. Only a worker's memory knows of that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row

from worker.change import Change
from worker.postgres.database import CLUSTER, Connection

# How many events a consumer remembers: what is delivered in some of the seconds that a standby lags behind.
REMEMBERED = 2_000

MISSING: LiteralString = """
select n.place - 1 from unnest(%(topic)s::text[], %(id)s::bigint[], %(at)s::timestamptz[])
     with ordinality as n (topic, id, at, place)
where n.at > now() - interval '1 day'
  and not exists (select from hearken.events e where e.topic = n.topic and e.id = n.id and e.at = n.at)
order by n.place
"""
NOTE: LiteralString = """
insert into hearken.timelines (cluster, timeline, settled_at)
select %(cluster)s, %(timeline)s,
       case when not exists (select from hearken.timelines where cluster = %(cluster)s) then now() end
on conflict do nothing
"""
LOST: LiteralString = """
insert into hearken.lost_events (cluster, timeline, handler, event_id, topic, key, at)
select %(cluster)s, %(timeline)s, %(handler)s, n.id, n.topic, n.key, n.at
from unnest(%(topic)s::text[], %(id)s::bigint[], %(key)s::text[], %(at)s::timestamptz[]) as n (topic, id, key, at)
on conflict do nothing
"""
OPEN: LiteralString = (
    """
select t.timeline, t.noticed_at, l.handler, count(l.event_id) as events, (array_agg(distinct l.key))[:100] as keys
from hearken.timelines t left join hearken.lost_events l using (cluster, timeline)
where t.settled_at is null and t.cluster = """
    + CLUSTER
    + " group by t.timeline, t.noticed_at, l.handler order by t.noticed_at, l.handler"
)


@dataclass(frozen=True)
class Failover:
    """A failover that nobody has settled yet: what one handler (None: nobody) had been given and is gone.

    events  how many; keys: of which keys, a hundred at most
    """

    timeline: str
    noticed_at: datetime
    handler: str | None
    events: int
    keys: list[str | None]

    def __str__(self) -> str:
        when = f"the database failed over before {self.noticed_at:%Y-%m-%d %H:%M:%S} UTC"
        if self.handler is None:
            return f"{when}, what was committed last before may be lost"
        return f"{when} and has lost {self.events} events that {self.handler} had been given"


class Given(NamedTuple):
    """An event as it is remembered: without its rows."""

    id: int
    at: datetime
    topic: str
    key: str | None


class Recollection:
    """The events that a consumer was given last, and the timeline they were read on. Outlives the connection."""

    def __init__(self, handler: str) -> None:
        self.timeline: str | None = None
        self._handler = handler
        self._given: deque[Given] = deque(maxlen=REMEMBERED)

    def add(self, changes: Iterable[Change]) -> None:
        """Remember them, before anything is done about them."""
        self._given.extend(Given(c.id, c.at, c.topic, c.key) for c in changes)

    async def missing(self, connection: AsyncConnection[Any]) -> list[Given]:
        """Those that are not in the log, or whose ids others have now; of the last day, older ones may be dropped."""
        given = list(self._given)
        async with connection.cursor(row_factory=scalar_row) as cursor:
            places = await (await cursor.execute(MISSING, _columns(given))).fetchall()
        return [given[place] for place in places]

    async def note(self, connection: Connection, lost: Sequence[Given]) -> None:
        """Write down the connection's timeline, and what is lost on it; and begin anew."""
        about = {"cluster": connection.cluster, "timeline": connection.timeline, "handler": self._handler}
        await note_timeline(connection)
        await connection.execute(LOST, {**about, "key": [g.key for g in lost], **_columns(lost)})
        self.timeline = connection.timeline
        self._given.clear()


async def note_timeline(connection: Connection) -> None:
    """Write down the timeline of this connection, if it is another one than before."""
    if connection.timeline is not None:
        await connection.execute(NOTE, {"cluster": connection.cluster, "timeline": connection.timeline})


async def open_failovers(connection: AsyncConnection[Any]) -> list[Failover]:
    """What has been noticed and nobody has settled."""
    async with connection.cursor(row_factory=class_row(Failover)) as cursor:
        return await (await cursor.execute(OPEN)).fetchall()


def _columns(given: Sequence[Given]) -> dict[str, list[Any]]:
    return {"topic": [g.topic for g in given], "id": [g.id for g in given], "at": [g.at for g in given]}
