"""How far each handler is, what it has parked, and who runs it: for `hearken status` and /health.

Read from the database alone, in one snapshot of it, so it says the same on any machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.declare.declaration import declaration_of, describe_difference
from worker.declare.handler import CHANGES, Handler
from worker.deliver.stretch import Seen
from worker.errors import DeclarationError
from worker.log.reader import WANTED, wishes
from worker.postgres.database import CLUSTER
from worker.postgres.locks import claim_lock, topic_lock
from worker.sources.timetable import ScheduleEntry, read_timetable

# Who has it: `working` on a batch now; `idle`, asleep until there is something; `waiting`, workers are there but leave
# it alone (paused, or its destination is down); `nobody` is there.
CursorState = Literal["working", "idle", "waiting", "nobody"]

# Reading all that is behind, or all there is, looks cheap to the planner for the few that are counted.
BY_INDEX: LiteralString = (
    "select set_config('enable_bitmapscan', 'off', true), set_config('enable_seqscan', 'off', true)"
)
CONSISTENT: LiteralString = "set transaction isolation level repeatable read read only"
CURSORS: LiteralString = (
    """
select c.handler, c.shard, c.shards, to_json(c.topics) as topics, c.done::text as done, c.target::text as target,
       c.last_id, c.max_id, extract(epoch from clock_timestamp() - c.moved_at)::float8 as moved, c.cluster = """
    + CLUSTER
    + """ as native, p.reason as paused,
       case when b.handler is not null then json_build_object(
           'deleted', b.deleted, 'archived', b.archived, 'truncated', b.truncated, 'of_rows', b.of_rows,
           'most', b.most) end as braked, d.declaration,
       coalesce(k.due, 0) as due, coalesce(k.held, 0) as held, coalesce(k.dead, 0) as dead,
       coalesce(k.running, 0) as running, k.overdue
from hearken.cursors c
left join hearken.paused p using (handler)
left join hearken.declarations d using (handler)
left join hearken.brakes b on b.handler = c.handler and b.released_at is null
left join lateral (
    select count(*) filter (where state = 'due') as due, count(*) filter (where state = 'held') as held,
           count(*) filter (where state = 'dead') as dead, count(*) filter (where state = 'running') as running,
           extract(epoch from clock_timestamp() - min(due_at) filter (where state = 'due'))::float8 as overdue
    from hearken.parked k
    where k.handler = c.handler
      and hearken.shard_of(k.slot, c.shards) = c.shard) k on true
order by c.handler, c.shard
"""
)
# What is left of the open window, read as a batch reads it, and what came after it (or, with none open, after what is
# done). Each part is in the order of an index, or asks it for one transaction at a time: anything else is badly
# estimated where one transaction has written much, and ends in reading everything.
BEHIND: LiteralString = (
    """
select count(*) filter (where wanted) as behind, count(*) as scanned,
       extract(epoch from clock_timestamp() - min(at) filter (where wanted))::float8 as seconds
from (select e.at, """
    + WANTED
    + """ as wanted
from unnest(%(topics)s::text[]) t (topic) cross join lateral (
    (select * from (
         select * from hearken.events e
         where e.topic = t.topic and e.id > %(last_id)s and e.id <= %(max_id)s order by e.id limit %(most)s) e
     where pg_visible_in_snapshot(e.tx, %(target)s::pg_snapshot)
       and not pg_visible_in_snapshot(e.tx, %(done)s::pg_snapshot))
    union all
    select * from hearken.unseen_events(
        t.topic, coalesce(%(target)s::pg_snapshot, %(done)s::pg_snapshot), %(most)s)) e offset 0) s
"""
)
LOCKS: LiteralString = """
select (l.classid::bigint << 32) | l.objid::bigint as key,
       coalesce(nullif(a.application_name, ''), 'pid ' || l.pid) as holder
from pg_catalog.pg_locks l left join pg_catalog.pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
"""
WORKERS: LiteralString = """
select distinct application_name as name from pg_catalog.pg_stat_activity
where datname = current_database() and application_name like 'hearken %:%' order by name
"""


@dataclass(frozen=True, kw_only=True)
class HandlerStatus:
    """One handler's shard. Ages are in seconds.

    declared   False when the code no longer has it (`hearken forget`)
    enrolled   False when it has no cursor yet (`hearken migrate`); then nothing else is known
    native     False when its cursor is from another database (`hearken rebase`); then `behind` is unknown
    differs    how the code declares it otherwise than its cursor was migrated, if it does: workers with such code step
               aside (`hearken migrate`)
    behind     events it has yet to be given; there may be more when `behind_is_at_least`
    oldest     the age of the oldest of them
    moved      seconds since its cursor was moved
    running    events whose delivery goes on after its batch
    due, held, dead  parked events by state; `overdue` is for how long the first has been due (negative: not yet)
    next_due   when its schedule has its next tick due, if it has one; `late` is how long it has been late
    paused     why an operator or the engine lets it wait, if so
    braked     what the brake has seen, while it is on
    who        the application names of those that run it, or sleep for it
    """

    handler: str
    shard: int = 0
    shards: int = 1
    topics: list[str]
    declared: bool = True
    enrolled: bool = True
    native: bool = True
    differs: str | None = None
    behind: int | None = None
    behind_is_at_least: bool = False
    oldest: float | None = None
    moved: float | None = None
    due: int = 0
    running: int = 0
    held: int = 0
    dead: int = 0
    overdue: float | None = None
    next_due: datetime | None = None
    late: float = 0.0
    paused: str | None = None
    braked: Seen | None = None
    state: CursorState = "nobody"
    who: list[str]


@dataclass(frozen=True)
class _Presence:
    """Who holds which advisory lock, and which workers are connected."""

    holders: Mapping[int, list[str]]
    workers: list[str]

    def of(self, handler: str, shard: int, topics: list[str]) -> tuple[CursorState, list[str]]:
        if at_work := self.holders.get(claim_lock(handler, shard)):
            return "working", at_work
        if asleep := sorted({name for topic in topics for name in self.holders.get(topic_lock(topic), [])}):
            return "idle", asleep
        return ("waiting", self.workers) if self.workers else ("nobody", [])


async def read_status(
    connection: AsyncConnection[Any], handlers: Mapping[str, Handler], *, most: int = 50_000
) -> list[HandlerStatus]:
    """Every cursor, and every declared handler that has none. Looks at no more than `most` events per cursor.

    Begins a transaction of its own. Raises psycopg.Error.
    """
    async with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(CONSISTENT)
        await cursor.execute(BY_INDEX)
        rows = await (await cursor.execute(CURSORS)).fetchall()
        presence = await _presence(connection)
        entries = {e.handler: e for e in await read_timetable(connection, {row["handler"] for row in rows})}
        rows = [row | _ticks(entries.get(row["handler"])) for row in rows]
        known = [await _status(connection, row, handlers.get(row["handler"]), presence, most) for row in rows]
    missing = sorted(set(handlers) - {status.handler for status in known})
    return known + [
        HandlerStatus(handler=name, topics=[handlers[name].topic], enrolled=False, who=[]) for name in missing
    ]


def _ticks(entry: ScheduleEntry | None) -> dict[str, Any]:
    unknown = {"next_due": None, "late": 0.0}
    try:
        return unknown if entry is None else {"next_due": entry.next_due, "late": max(0.0, -entry.wait)}
    except DeclarationError:
        return unknown  # a zone that this machine does not know: a worker that does not know it either says so


async def _presence(connection: AsyncConnection[Any]) -> _Presence:
    async with connection.cursor(row_factory=dict_row) as cursor:
        holders: dict[int, list[str]] = {}
        for row in await (await cursor.execute(LOCKS)).fetchall():
            holders.setdefault(row["key"], []).append(row["holder"])
        workers = [row["name"] for row in await (await cursor.execute(WORKERS)).fetchall()]
    return _Presence(holders, workers)


async def _status(
    connection: AsyncConnection[Any], row: dict[str, Any], handler: Handler | None, presence: _Presence, most: int
) -> HandlerStatus:
    state, who = presence.of(row["handler"], row["shard"], row["topics"])
    if state == "waiting" and row["running"]:
        state = "working"  # all its places are taken
    behind = await _behind(connection, row, handler, most) if row["native"] else {}
    return HandlerStatus(
        handler=row["handler"],
        shard=row["shard"],
        shards=row["shards"],
        topics=row["topics"],
        declared=handler is not None,
        native=row["native"],
        differs=None if handler is None else _difference(handler, row["declaration"]),
        behind=behind.get("behind"),
        behind_is_at_least=(behind.get("scanned") or 0) >= most,
        oldest=behind.get("seconds"),
        moved=row["moved"],
        due=row["due"],
        running=row["running"],
        held=row["held"],
        dead=row["dead"],
        overdue=row["overdue"],
        next_due=row["next_due"],
        late=row["late"],
        paused=row["paused"],
        braked=None if row["braked"] is None else Seen(**row["braked"]),
        state=state,
        who=who,
    )


def _difference(handler: Handler, stored: Mapping[str, Any] | None) -> str | None:
    if stored is None:
        return "its declaration is not stored yet"
    return describe_difference(stored, declaration_of(handler)) or None


async def _behind(
    connection: AsyncConnection[Any], row: dict[str, Any], handler: Handler | None, most: int
) -> dict[str, Any]:
    asked = {"ops": list(CHANGES), "watch": None, "excludes": False} if handler is None else wishes(handler)
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(BEHIND, {**asked, **row, "most": most})
        return await cursor.fetchone() or {}
