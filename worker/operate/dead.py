"""Dead events, which need a person: grouped, shown, retried, skipped. `parked` puts them there.

A retried event is due at once and has all its attempts again; those held behind it stay in order. A skipped one is
dropped, and the next of its key comes. Who did it and why is kept in the same transaction (see `audit`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from worker.deliver import runs
from worker.deliver.parked import PROMOTE
from worker.doorbell.ring import ring
from worker.operate.audit import ActionSubject, Actor, record_action
from worker.postgres.locks import claim_lock

# Reasons that differ only in numbers are one: ids, amounts, statuses. `different` counts the original ones.
NUMBER = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]+"
GROUPS: LiteralString = """
select handler, regexp_replace(coalesce(reason, ''), %(number)s, '#', 'gi') as pattern, count(*) as events,
       count(distinct reason) as different, min(reason) as reason, min(parked_at) as oldest,
       max(parked_at) as newest, min(event_id) as example
from hearken.parked
where state = 'dead' and (%(handler)s::text is null or handler = %(handler)s)
group by 1, 2 order by handler, events desc, pattern
"""
CHOSEN: LiteralString = """
select handler, event_id from hearken.parked
where state = 'dead' and (%(event_id)s::bigint is null or event_id = %(event_id)s)
  and (%(handler)s::text is null or handler = %(handler)s)
  and (%(matching)s::text is null or coalesce(reason, '') ~* %(matching)s)
order by handler, event_id
"""
# Taken in one order, so that two operators wait for each other; the second finds them no longer dead.
TAKE: LiteralString = """
select p.handler, p.event_id, p.topic, p.key, p.attempt, p.reason
from unnest(%(handlers)s::text[], %(event_ids)s::bigint[]) c (handler, event_id)
join hearken.parked p using (handler, event_id)
where p.state = 'dead' order by p.handler, p.event_id for update of p
"""
RETRY: LiteralString = """
update hearken.parked p
set state = 'due', attempt = 0, due_at = now() + make_interval(secs => (c.place - 1) / %(rate)s::float8)
from unnest(%(handlers)s::text[], %(event_ids)s::bigint[]) with ordinality c (handler, event_id, place)
where p.handler = c.handler and p.event_id = c.event_id
"""
SKIP: LiteralString = """
delete from hearken.parked p using unnest(%(handlers)s::text[], %(event_ids)s::bigint[]) c (handler, event_id)
where p.handler = c.handler and p.event_id = c.event_id
"""
CLAIM: LiteralString = "select pg_advisory_xact_lock(k) from unnest(%s::bigint[]) with ordinality n (k, i) order by i"
SHARDS: LiteralString = """
select distinct p.handler, hearken.shard_of(p.slot, c.shards) as shard
from unnest(%(handlers)s::text[], %(event_ids)s::bigint[]) n (handler, event_id)
join hearken.parked p using (handler, event_id) join hearken.cursors c on c.handler = p.handler
order by 1, 2
"""


@dataclass(frozen=True)
class DeadFilter:
    """Which dead events: all that is given must hold. `matching` is part of the reason; # in it is any number."""

    event_id: int | None = None
    handler: str | None = None
    matching: str | None = None


@dataclass(frozen=True)
class Dead:
    """One dead event of one handler."""

    handler: str
    event_id: int


@dataclass(frozen=True)
class Group:
    """Dead events of one handler whose reasons differ in numbers only.

    reason     the one reason; where there are several `different` ones, what they have in common, # for each number
    oldest, newest  when the first and the last of them were parked
    example    the id of one of them
    """

    handler: str
    reason: str
    events: int
    different: int
    oldest: datetime
    newest: datetime
    example: int


async def group(connection: AsyncConnection[Any], handler: str | None = None) -> list[Group]:
    """All dead events, or those of one handler, by handler and reason; the largest groups first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(GROUPS, {"handler": handler, "number": NUMBER})
        rows = await cursor.fetchall()
    for row in rows:
        pattern = row.pop("pattern")
        row["reason"] = row["reason"] or "" if row["different"] < 2 else pattern
    return [Group(**row) for row in rows]


async def find_dead(connection: AsyncConnection[Any], choice: DeadFilter) -> list[Dead]:
    """The dead events that are meant, in order."""
    matching = None if choice.matching is None else _expression(choice.matching)
    values = {"event_id": choice.event_id, "handler": choice.handler, "matching": matching}
    async with connection.cursor(row_factory=dict_row) as cursor:
        return [Dead(**row) for row in await (await cursor.execute(CHOSEN, values)).fetchall()]


async def retry(
    connection: AsyncConnection[Any], chosen: Sequence[Dead], actor: Actor, *, rate: float | None = None
) -> list[Dead]:
    """Make them due, with all their attempts, and wake their handlers: at once, or `rate` per second.

    Returns those that were still dead.
    """
    async with connection.transaction():
        taken = await _take(connection, chosen)
        dead = [Dead(row["handler"], row["event_id"]) for row in taken]
        # An infinite rate makes all of them due now.
        await connection.execute(RETRY, {**_columns(dead), "rate": float("inf") if rate is None else rate})
        await runs.decide(connection, [one.event_id for one in dead], "waiting")
        await record_action(connection, "retry", [_subject(row) for row in taken], actor)
        await ring(connection, {row["topic"] for row in taken})
    return dead


async def skip(connection: AsyncConnection[Any], chosen: Sequence[Dead], actor: Actor) -> list[Dead]:
    """Drop them, and let the next of their keys come. Returns those that were still dead.

    Waits for the batches of their handlers to end: one that is about to hold an event behind a dead one must not
    find it gone. Raises psycopg.errors.LockNotAvailable.
    """
    async with connection.transaction():
        await _claim(connection, chosen)
        taken = await _take(connection, chosen)
        dead = [Dead(row["handler"], row["event_id"]) for row in taken]
        await connection.execute(SKIP, _columns(dead))
        for handler in sorted({one.handler for one in dead}):
            keys = [row for row in taken if row["handler"] == handler]
            places = {"topic": [row["topic"] for row in keys], "key": [row["key"] for row in keys]}
            await connection.execute(PROMOTE, {"handler": handler, **places})
        await runs.decide(connection, [one.event_id for one in dead], "skipped", actor.reason)
        await record_action(connection, "skip", [_subject(row) for row in taken], actor)
        await ring(connection, {row["topic"] for row in taken})
    return dead


async def _claim(connection: AsyncConnection[Any], chosen: Sequence[Dead]) -> None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        shards = await (await cursor.execute(SHARDS, _columns(chosen))).fetchall()
        await cursor.execute(CLAIM, ([claim_lock(row["handler"], row["shard"]) for row in shards],))


async def _take(connection: AsyncConnection[Any], chosen: Sequence[Dead]) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        return await (await cursor.execute(TAKE, _columns(chosen))).fetchall()


def _columns(chosen: Sequence[Dead]) -> dict[str, Any]:
    return {"handlers": [one.handler for one in chosen], "event_ids": [one.event_id for one in chosen]}


def _subject(row: dict[str, Any]) -> ActionSubject:
    was = {"attempt": row["attempt"], "reason": row["reason"]}
    return ActionSubject(row["handler"], row["topic"], row["key"], row["event_id"], was)


def _expression(text: str) -> str:
    """A regular expression for Postgres: the text as it stands, # for any number."""
    literal = [re.sub(r"([^\w\s])", r"\\\1", part) for part in text.split("#")]
    return f"(?:#|{NUMBER})".join(literal)
