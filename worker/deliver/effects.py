"""The ledger of writes to outside systems: what `hearken explain` shows, and where idempotency keys come from.

A row is written before the call and completed after it. One that was never completed says: the worker died, or no
answer came. The same key is used again then, and the destination answers what it answered before.

The ledger may be set back, by a failover or a restored dump, and the destination is not. So a key also says in which
era of the ledger it was made: the database, and its timeline.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

from worker.change import Change
from worker.deliver.ownership import Ownership
from worker.errors import DeliveryLost
from worker.postgres.database import Connection, Database
from worker.postgres.storable import storable_json, storable_text

# Characters of an event's key in an idempotency key. Stripe takes 255 in all.
# https://docs.stripe.com/api/idempotent_requests
LONGEST_KEY = 100

# The key of an effect that has ended, well or badly, is never used again: a later effect with the same
# parameters (a price that went up and down again) must not get the remembered answer.
START: LiteralString = """
insert into hearken.effects (event_id, handler, topic, key, step, base, generation, era)
select %(event_id)s, %(handler)s, %(topic)s, %(key)s, %(step)s, %(base)s, ended.count,
       coalesce((select e.era from hearken.effects e
                 where e.base = %(base)s and e.state = 'started' and e.generation = ended.count
                 order by e.id desc limit 1), %(era)s)
from (select count(*) from hearken.effects e where e.base = %(base)s and e.state <> 'started') ended
where %(worker)s::bigint is null
   or exists (select from (select * from hearken.parked p
                           where p.handler = %(handler)s and p.event_id = %(event_id)s offset 0) p
              where p.state = 'running' and p.worker = %(worker)s)
returning id, generation, era
"""
END: LiteralString = """
update hearken.effects
set state = %(state)s, object_id = %(object_id)s, request_id = %(request_id)s, changed = %(changed)s,
    error = %(error)s, ended_at = now()
where id = %(id)s
"""


@dataclass
class Effect:
    """One write outside. Call `done` or `failed`; left without either, its outcome counts as unknown."""

    step: str
    idempotency_key: str
    _ended: dict[str, Any] | None = None

    def done(
        self, *, object_id: str | None = None, request_id: str | None = None, changed: Mapping[str, Any] | None = None
    ) -> None:
        """The destination has applied it. `changed` maps a field to [before, after]."""
        self._ended = {
            "state": "done",
            "object_id": _told(object_id),
            "request_id": _told(request_id),
            "changed": None if changed is None else storable_json(changed),
            "error": None,
        }

    def failed(self, error: str, *, request_id: str | None = None) -> None:
        """The destination has refused it, or failed in a way it may remember: the next try gets a new key."""
        self._ended = {
            "state": "failed",
            "object_id": None,
            "request_id": _told(request_id),
            "changed": None,
            "error": storable_text(error),
        }


def _told(name: object) -> str | None:
    """What the destination calls something: in the ledger as far as it can be kept there."""
    return None if name is None else storable_text(name)


def base_of(handler: str, change: Change, step: str, parameters: Mapping[str, Any]) -> str:
    """What is the same in every try of one effect: handler:key:step:hash of its parameters.

    It is sent in a header: a key that is long or has other characters than ASCII's stands in it as its hash.
    """
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).hexdigest()[:24]
    key = str(change.key)
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        key = f"#{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    return f"{handler}:{key}:{step}:{digest}"


def era_of(connection: Connection) -> str:
    """Which ledger this is: another one after a failover, and in a restored dump."""
    return hashlib.sha256(f"{connection.cluster}/{connection.timeline}".encode()).hexdigest()[:8]


@asynccontextmanager
async def record_effect(
    database: Database,
    handler: str,
    change: Change,
    step: str,
    parameters: Mapping[str, Any],
    ownership: Ownership | None,
) -> AsyncIterator[Effect]:
    """Record one effect around the call that makes it.

    ownership  of the delivery: if another worker has taken it over, what was read may be out of date
    Raises DeliveryLost, or ConnectionLost when nobody can tell, before anything is written outside.
    """
    by_row = ownership is not None and await ownership.row_needed()
    base = storable_text(base_of(handler, change, step, parameters))
    row = {
        "event_id": change.id,
        "handler": handler,
        "topic": change.topic,
        "key": change.key,
        "step": storable_text(step),
        "base": base,
        "worker": ownership.worker if ownership is not None and by_row else None,
    }
    async with database.engine.connection() as connection:
        started = await (await connection.execute(START, {**row, "era": era_of(connection)})).fetchone()
    if started is None:
        raise DeliveryLost(
            f"event {change.id} is no longer {handler}'s to deliver here: another worker has taken it over"
        )
    effect = Effect(step, ":".join((base, str(started["generation"]), *([started["era"]] if started["era"] else ()))))
    try:
        yield effect
    finally:
        if effect._ended is not None:
            async with database.engine.connection() as connection:
                await connection.execute(END, {"id": started["id"], **effect._ended})
