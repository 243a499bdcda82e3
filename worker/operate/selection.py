"""Which past events a replay is of: chosen in the log, or among the dead, and counted before anything is appended.

What is chosen is fixed by a snapshot: an event that is committed later, the replay's own among them, is not part of it.
So a replay that was interrupted resumes with exactly what was left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row, scalar_row
from psycopg.types.json import Json

from worker.declare.handler import Handler
from worker.log.reader import wishes
from worker.operate.events import MATCHES, Filter

SNAPSHOT: LiteralString = "select pg_current_snapshot()::text"
# A page is read in the order of an index, however many rows the planner expects; and planned with its values, so that
# the days outside of a range are left out.
BY_INDEX: LiteralString = """
select set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('plan_cache_mode', 'force_custom_plan', false)
"""
PICKED: LiteralString = (
    MATCHES + " and e.id > %(after)s and e.id <= %(last)s and pg_visible_in_snapshot(e.tx, %(snapshot)s::pg_snapshot)"
)
# As `log.WANTED`, for several handlers at once and of the event that will be appended: a handler chosen by name gets it
# whatever was its origin, and whom the old one was for does not matter.
HEARD: LiteralString = """array(
    select w.handler from json_to_recordset(%(wishes)s)
        w (handler text, topics text[], ops text[], watch text[], excludes bool)
    where e.topic = any(w.topics) and (%(named)s or e.origin is distinct from w.handler)
      and (e.op = 'snapshot' or e.op = any(w.ops))
      and (e.op <> 'update' or case when w.watch is not null then hearken.touches(e.old, e.new, w.watch)
                                    else not w.excludes or e.old::text is distinct from e.new::text end))"""
# A part of what is chosen, in the order of the log, each with the handlers that get it. Replays are only replayed
# by their ids: otherwise one would repeat what others have repeated.
IN_LOG: LiteralString = (
    """
select c.* from unnest(%(topics)s::text[]) t (topic) cross join lateral (
    select e.*, h.heard from hearken.events e cross join lateral (select """
    + HEARD
    + " as heard offset 0) h where e.topic = t.topic and "
    + PICKED
    + """ and (%(ids)s::bigint[] is not null or e.replay_of is null)
      and h.heard <> '{}' order by e.id limit %(limit)s) c
order by c.id limit %(limit)s"""
)
# The same of dead events: each is for the handlers that it is dead for.
DEAD: LiteralString = (
    """
select c.* from (
    select p.event_id, p.topic, array_agg(p.handler order by p.handler) as heard from hearken.parked p
    where p.state = 'dead' and p.topic = any(%(topics)s::text[]) and p.event_id > %(after)s
      and p.handler in (select w.handler from json_to_recordset(%(wishes)s) w (handler text))
    group by p.event_id, p.topic) d
cross join lateral (
    select e.*, d.heard from hearken.events e where e.topic = d.topic and e.id = d.event_id and """
    + PICKED
    + " limit 1) c order by d.event_id limit %(limit)s"
)
COUNT: tuple[LiteralString, LiteralString] = (
    "select heard, count(*) as events, max(id) as last from (",
    ") chosen group by heard",
)
PAGE: tuple[LiteralString, LiteralString] = ("select id, at, topic, op, key, heard from (", ") chosen order by id")
ALL = 2**63 - 1


@dataclass(frozen=True)
class Selection:
    """Events as `wanted` says, for `handlers`: those chosen by name (`named`), or all that subscribe to one of them.

    dead      only those that are dead for one of the handlers
    snapshot  what was committed when they were chosen
    last      the id of the last of them
    """

    wanted: Filter
    handlers: Sequence[Handler] = field(repr=False)
    named: bool
    dead: bool
    snapshot: str
    last: int = ALL

    @property
    def query(self) -> LiteralString:
        """What finds a part of them."""
        return DEAD if self.dead else IN_LOG

    def part(self, after: int, limit: int | None) -> dict[str, Any]:
        """The parameters of the part that comes after an id."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self.wanted).items()}
        place = {"snapshot": self.snapshot, "after": after, "last": self.last, "limit": limit}
        return {**values, **place, "wishes": Json([wishes(h) for h in self.handlers]), "named": self.named}


@dataclass(frozen=True)
class SelectionCount:
    """How many events are chosen, how many of them each handler will be given, and the id of the last."""

    events: int
    handlers: dict[str, int]
    last: int


@dataclass(frozen=True)
class SelectedEvent:
    """One event of the choice; `heard` names the handlers that it is for."""

    id: int
    at: datetime
    topic: str
    op: str
    key: str | None
    heard: list[str]


async def take_snapshot(connection: AsyncConnection[Any]) -> str:
    """What is committed now, as a pg_snapshot in text. From here on the session reads by index."""
    await connection.execute(BY_INDEX)
    async with connection.cursor(row_factory=scalar_row) as cursor:
        (snapshot,) = await (await cursor.execute(SNAPSHOT)).fetchall()
    return str(snapshot)


async def count_selected(connection: AsyncConnection[Any], choice: Selection, *, after: int = 0) -> SelectionCount:
    """How many there are with an id above `after`. Reads them all, at the server."""
    handlers = {handler.name: 0 for handler in choice.handlers}
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(COUNT[0] + choice.query + COUNT[1], choice.part(after, None))
        groups = await cursor.fetchall()
    for group in groups:
        for name in group["heard"]:
            handlers[name] += group["events"]
    return SelectionCount(sum(g["events"] for g in groups), handlers, max((g["last"] for g in groups), default=after))


async def read_selected(
    connection: AsyncConnection[Any], choice: Selection, *, after: int = 0, limit: int = 500
) -> list[SelectedEvent]:
    """The first of them with an id above `after`: call it again with the last one's id for the next page."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(PAGE[0] + choice.query + PAGE[1], choice.part(after, limit))
        return [SelectedEvent(**row) for row in await cursor.fetchall()]


def to_json(choice: Selection) -> str:
    """The choice as it is kept with the request for a replay."""
    values = {**asdict(choice.wanted), "handlers": [h.name for h in choice.handlers]}
    rest = {"named": choice.named, "dead": choice.dead, "snapshot": choice.snapshot, "last": choice.last}
    return json.dumps({**values, **rest}, default=datetime.isoformat, ensure_ascii=False)


def from_json(values: Mapping[str, Any], handlers: Sequence[Handler]) -> Selection:
    """What `to_json` has written, with the handlers that it names."""
    times = {name: values[name] and datetime.fromisoformat(values[name]) for name in ("since", "until")}
    wanted = Filter(values["topics"], values["ids"], values["key"], values["op"], **times)
    return Selection(wanted, handlers, values["named"], values["dead"], values["snapshot"], values["last"])
