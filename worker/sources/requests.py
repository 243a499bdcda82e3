"""Requests into the log: what an endpoint was asked, as an event, by HTTP (`http.endpoints`) or from the command line.

The event and its run are appended together; from there a request goes the way of every event.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.types.json import Json
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails

from worker.declare.handler import Handler
from worker.deliver.runs import Run
from worker.doorbell.ring import ring
from worker.doorbell.waiting import wait_until_set
from worker.errors import AlreadyRunning, KeyTaken
from worker.log.appending import begin_appending
from worker.postgres.locks import topic_lock

# Two requests for one endpoint, so that only one of them finds that no run is in progress.
ALONE: LiteralString = "select pg_advisory_xact_lock(%s)"
UNDER_WAY: LiteralString = "select event_id from hearken.runs where topic = %s and ended_at is null limit 1"
# Who asks with a key that is taken waits here for the other's commit, and then finds its run.
OPEN: LiteralString = """
insert into hearken.runs (event_id, topic, source, idempotency_key, body_hash)
values (nextval('hearken.events_id_seq'), %(topic)s, %(source)s, %(key)s, %(hash)s)
on conflict (topic, idempotency_key) where idempotency_key is not null do nothing
returning event_id
"""
TAKEN: LiteralString = """
select event_id, body_hash from hearken.runs where topic = %(topic)s and idempotency_key = %(key)s
"""
APPEND: LiteralString = """
insert into hearken.events (id, topic, op, key, new, note)
values (%(id)s, %(topic)s, %(op)s, %(key)s, %(new)s::json, %(note)s)
"""
NOW: LiteralString = "select hearken.clock() as now"
# Seconds between two looks at a run that somebody waits for: first, and at most.
FIRST_LOOK = 0.02
LONGEST_LOOK = 0.5


def sound(model: type[BaseModel], text: bytes | str) -> str:
    """A request's body as its event keeps it: validated (no "3" or true for a 3), with its defaults, under the names
    it came with.

    Raises pydantic.ValidationError, also for NaN and infinity: JSON has none, and null is something else.
    """
    body = model.model_validate_json(text or "{}", strict=True)
    if infinite := [*_infinite(body.model_dump(by_alias=True))]:
        problems = [InitErrorDetails(type="finite_number", loc=place, input=None) for place in infinite]
        raise ValidationError.from_exception_data(model.__name__, problems)
    return body.model_dump_json(by_alias=True)


def _infinite(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in the value a number is none that JSON has."""
    if isinstance(value, float) and not math.isfinite(value):
        yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for name, member in members:
        yield from _infinite(member, (*place, name))


def problems(error: ValidationError) -> list[dict[str, str]]:
    """The fields at fault, without their values."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return [{"field": ".".join(map(str, e["loc"])) or "(body)", "problem": e["msg"]} for e in found]


async def append_request(
    connection: AsyncConnection[Any],
    handler: Handler,
    body: str,
    *,
    source: str,
    idempotency_key: str | None = None,
    alone: bool = False,
    note: Mapping[str, str] | None = None,
) -> int:
    """Append a request (a `sound` body) for the handler of an endpoint, committed on return: its event's id.

    alone  refuse it while another run is in progress
    note   who asks and why (`Actor.note`), where that is known
    Raises KeyTaken when the key was used with another body, AlreadyRunning.
    """
    topic = handler.topic
    digest = hashlib.sha256(body.encode()).hexdigest()
    row = {"topic": topic, "source": source, "key": idempotency_key, "hash": digest}
    async with connection.transaction():
        if alone:  # before its key is looked up: whoever was first with that key has committed then
            await connection.execute(ALONE, (topic_lock(f"{topic} alone"),))
        if idempotency_key is not None and (taken := await _taken(connection, row)) is not None:
            return taken
        if alone:
            await _refuse_second(connection, topic)
        await begin_appending(connection)
        opened = await (await connection.execute(OPEN, row)).fetchone()
        if opened is None:
            taken = await _taken(connection, row)
            assert taken is not None  # noqa: S101  # whoever has the key has committed: that is what was waited for
            return taken
        event_id: int = opened["event_id"]
        await _append(connection, event_id, topic, "request", str(event_id), body, note)
    return event_id


async def append_manual_tick(connection: AsyncConnection[Any], handler: Handler, *, note: Mapping[str, str]) -> int:
    """Append a tick that is due now, beside those of its schedule: as `ask` does."""
    assert handler.schedule is not None  # noqa: S101  # the caller has chosen it by its schedule
    topic = handler.topic
    row = {"topic": topic, "source": "cli", "key": None, "hash": None}
    async with connection.transaction():
        await begin_appending(connection)
        opened = await (await connection.execute(OPEN, row)).fetchone()
        assert opened is not None  # noqa: S101  # without a key there is no conflict
        (now,) = await (await connection.execute(NOW)).fetchall()
        due = json.dumps({"due": now["now"].isoformat()})
        event_id: int = opened["event_id"]
        await _append(connection, event_id, topic, "tick", handler.schedule.name, due, note)
    return event_id


async def _append(
    connection: AsyncConnection[Any],
    event_id: int,
    topic: str,
    op: str,
    key: str,
    new: str,
    note: Mapping[str, str] | None,
) -> None:
    kept = None if note is None else Json(dict(note))
    row = {"id": event_id, "topic": topic, "op": op, "key": key, "new": new, "note": kept}
    await connection.execute(APPEND, row)
    await ring(connection, [topic])


async def _taken(connection: AsyncConnection[Any], row: Mapping[str, Any]) -> int | None:
    found = await (await connection.execute(TAKEN, row)).fetchone()
    if found is None:
        return None
    if found["body_hash"] != row["hash"]:
        raise KeyTaken(f"this Idempotency-Key was used for run {found['event_id']} with another body: use a new one")
    taken: int = found["event_id"]
    return taken


async def _refuse_second(connection: AsyncConnection[Any], topic: str) -> None:
    running = await (await connection.execute(UNDER_WAY, (topic,))).fetchone()
    if running is not None:
        raise AlreadyRunning(running["event_id"], f"run {running['event_id']} of {topic} is in progress: wait for it")


async def wait_for(
    look: Callable[[], Awaitable[Run | None]],
    seconds: float,
    stop: asyncio.Event,
    seen: Callable[[Run], None] = lambda _run: None,
) -> Run | None:
    """Look at a run until it has ended, for this many seconds or until stopped; returns it as it is then.

    seen  is called with the run at each look
    """
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    pause = FIRST_LOOK
    while (run := await look()) is not None and run.ended_at is None and clock() < until and not stop.is_set():
        seen(run)
        if not await wait_until_set(stop, min(pause, until - clock())):
            pause = min(pause * 1.5, LONGEST_LOOK)
    return run
