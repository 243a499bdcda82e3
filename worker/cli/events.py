"""`hearken events`: list the log, or follow it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import get_args

import click

from worker.change import Op, former
from worker.commands.output import printable
from worker.commands.session import connected, load_handlers, open_database
from worker.commands.times import check_range, moment
from worker.declare.handler import of_engine
from worker.declare.registry import Registry
from worker.doorbell.bell import Doorbell
from worker.errors import UsageError
from worker.operate.events import Event, Filter, find_events, follow_events, known_topics
from worker.postgres.database import Connection

# Seconds between checks that the follower still receives notifications.
CHECK_EVERY = 15.0
OPS = get_args(Op)


@click.command(short_help="List the log, or follow it.")
@click.option("--topic", help="Only this topic, such as public.spaces.")
@click.option("--key", help="Only this key.")
@click.option("--op", type=click.Choice(OPS), help="Only this operation.")
@click.option(
    "--since", type=moment, metavar="TIME", help="Not before this time: ISO (UTC), or an age such as 30m, 2h, 7d."
)
@click.option("--until", type=moment, metavar="TIME", help="Before this time.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=50, show_default=True, help="At most this many, the newest."
)
@click.option("--follow", is_flag=True, help="Keep printing new events as they are committed, until Ctrl-C.")
@click.option("--rows", is_flag=True, help="Show the rows' values too; they may be private.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one event per line.")
def events(
    topic: str | None,
    key: str | None,
    op: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    follow: bool,
    rows: bool,
    as_json: bool,
) -> None:
    """List events of the log, the newest last."""
    check_range(since, until)
    if follow and until is not None:
        raise click.UsageError("--follow never ends: leave out --until")
    wanted = Filter((topic,) if topic else (), None, key, op, since, until)
    listing = _follow(wanted, limit, rows=rows) if follow else _list(wanted, limit, rows=rows)
    asyncio.run(_print(listing, as_json=as_json))


async def _list(wanted: Filter, limit: int, *, rows: bool) -> AsyncIterator[Event]:
    registry = load_handlers()
    async with connected(registry, "events") as connection:
        found = await find_events(connection, await with_topics(connection, registry, wanted), limit=limit, rows=rows)
    for event in found:
        yield event


async def _follow(wanted: Filter, limit: int, *, rows: bool) -> AsyncIterator[Event]:
    registry = load_handlers()
    async with connected(registry, "events") as connection:
        wanted = await with_topics(connection, registry, wanted)
        async with _ringing(registry, wanted) as doorbell:
            async for event in follow_events(connection, doorbell, wanted, last=limit, rows=rows):
                yield event


@asynccontextmanager
async def _ringing(registry: Registry, wanted: Filter) -> AsyncIterator[Doorbell]:
    doorbell = Doorbell(open_database(registry, "events"), wanted.topics, check_every=CHECK_EVERY)
    listening = asyncio.create_task(doorbell.run())
    try:
        yield doorbell
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def with_topics(connection: Connection, registry: Registry, wanted: Filter) -> Filter:
    """The filter, with every topic if none is named. Raises UsageError for an unknown topic."""
    declared = {handler.topic for handler in registry.handlers.values()}
    known = sorted(declared.union(await known_topics(connection)))
    theirs = [topic for topic in known if not of_engine(topic)]
    if not wanted.topics:
        return replace(wanted, topics=theirs)
    if unknown := set(wanted.topics) - set(known):
        raise UsageError(f"no such topic: {', '.join(unknown)}; known: {', '.join(theirs) or 'none'}")
    return wanted


async def _print(listing: AsyncIterator[Event], *, as_json: bool) -> None:
    async for event in listing:
        click.echo(_as_json(event) if as_json else _as_text(event))


def _as_json(event: Event) -> str:
    """One line. The documents go in as they are: parsing them would round their numbers."""
    facts = {
        "id": event.id,
        "at": event.at.isoformat(),
        "topic": event.topic,
        "op": event.op,
        "key": event.key,
        "origin": event.origin,
        "replay_of": event.replay_of,
        "target": event.target,
    }
    members = [f'"{name}": {document}' for name, document in _documents(event).items()]
    return json.dumps(facts, ensure_ascii=False).removesuffix("}") + "".join(f", {m}" for m in members) + "}"


def _as_text(event: Event) -> str:
    facts = [
        f"{event.at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        f"{event.id:>8}",
        f"{event.op:<8}",
        event.topic,
        "-" if event.key is None else printable(event.key),
    ]
    if event.replay_of is not None:
        facts.append(f"replay of {event.replay_of}")
    if event.target is not None:
        facts.append(f"for {', '.join(event.target)}")
    if event.origin is not None:
        facts.append(f"by {event.origin}")
    facts += [f"{name} {printable(document)}" for name, document in _documents(event).items()]
    return "  ".join(facts)


def _documents(event: Event) -> dict[str, str]:
    """What the event has of note, old and new, as JSON on one line: a line break in JSON is never in a string."""
    documents = {
        "note": event.note_json,
        "old": former(event.op, event.old_json, event.new_json),
        "new": event.new_json,
    }
    return {name: re.sub("[\r\n]", " ", text) for name, text in documents.items() if text is not None}
