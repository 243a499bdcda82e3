"""`hearken explain`: everything about one key, in one timeline, and where it stands now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from worker.cli.render.explain import tell_story
from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json, printable
from worker.commands.session import connected, load_handlers, serving
from worker.commands.times import moment
from worker.declare.handler import SOURCES, Handler
from worker.declare.reconciler import Reconciler, Standing
from worker.declare.registry import Registry
from worker.deliver.context import Context
from worker.errors import HearkenError, UsageError
from worker.operate.events import known_topics
from worker.operate.explain import History, read_history
from worker.operate.keys import read_key
from worker.outcomes import Outcome
from worker.postgres.database import Connection


@dataclass(frozen=True)
class Looked:
    """What a system says about the key now; or, with `problem`, why it could not be asked."""

    name: str
    standing: Standing | None = None
    problem: str | None = None


@click.command(short_help="Everything about one key, and where it stands now.")
@click.argument("subject", metavar="TOPIC/KEY")
@click.option("--since", type=moment, metavar="TIME", help="Not before this time: ISO (UTC), or an age such as 2h.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most this many events.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(subject: str, since: datetime | None, limit: int, as_json: bool) -> int:
    """Show what happened to one key: its changes and who made them, deliveries, effects outside, replays, and what
    operators did; then how source and destination stand now. Prints the row's values.

    \b
    spaces/42                 of public.spaces; the schema may be left out
    shop.lines/["7", "a"]     where the primary key has several columns
    tick/nightly              every tick of a schedule
    """
    history, looked = asyncio.run(_explain(subject, since, limit))
    if as_json:
        print_json(_document(history, looked))
    else:
        tell_story(history, [(one.name, one.standing, one.problem) for one in looked])
    if history.timeline or history.row is not None:
        return 0
    click.echo(f"nothing is known about {printable(subject)}: no event, no row", err=True)
    return NEGATIVE


async def _explain(subject: str, since: datetime | None, limit: int) -> tuple[History, list[Looked]]:
    registry = load_handlers()
    async with connected(registry, "explain", patient=True) as connection:
        topic, key = await _subject(connection, registry, subject)
        hearing = [handler for handler in registry.handlers.values() if handler.topic == topic]
        history = await read_history(connection, topic, key, hearing, since=since, limit=limit)
    return history, await _look(registry, topic, key, hearing)


async def _subject(connection: Connection, registry: Registry, subject: str) -> tuple[str, str | None]:
    """The topic and the key that are meant. Raises UsageError."""
    declared = {handler.topic for handler in registry.handlers.values()}
    known = sorted(declared.union(await known_topics(connection)))
    if subject.startswith(SOURCES):
        source, name, *rest = subject.split("/", 2)
        return _known(f"{source}/{name}", known), rest[0] if rest else None
    name, slash, key = subject.partition("/")
    topic = _known(name, known)
    if not slash or not key:
        raise UsageError(f"which key of {topic}? write {name}/KEY")
    return topic, await read_key(connection, topic, key)


def _known(name: str, known: Sequence[str]) -> str:
    if name in known:
        return name
    fitting = [topic for topic in known if topic.partition(".")[2] == name]
    if len(fitting) > 1:
        raise UsageError(f"{name} is ambiguous, it may be {' or '.join(fitting)}: write the schema too")
    if not fitting:
        raise UsageError(f"no such topic: {name}; known: {', '.join(known) or 'none'}")
    return fitting[0]


async def _look(registry: Registry, topic: str, key: str | None, hearing: Sequence[Handler]) -> list[Looked]:
    """How source and destination stand, for each system that can say so (see `reconciler`)."""
    names = {handler.name for handler in hearing}
    able = [one for one in registry.reconcilers.values() if one.handler in names]
    if not able or key is None:
        return []
    async with serving(registry, "explain", [topic], read_only=True) as services:
        return [await _look_at(one, key, Context(one.handler, services)) for one in able]


async def _look_at(one: Reconciler, key: str, ctx: Context) -> Looked:
    try:
        return Looked(one.name, await one.look(key, ctx))
    except Outcome as outcome:
        return Looked(one.name, problem=outcome.reason)
    except HearkenError as error:
        return Looked(one.name, problem=" ".join(str(error).split()))


def _document(history: History, looked: Sequence[Looked]) -> dict[str, Any]:
    timeline = [{"at": e.at, "kind": e.kind, "event_id": e.event_id, **e.facts} for e in history.timeline]
    return {
        "topic": history.topic,
        "key": history.key,
        "timeline": timeline,
        "more": history.more,
        "deliveries": history.deliveries,
        "row": history.row,
        "systems": {one.name: _system(one) for one in looked},
    }


def _system(one: Looked) -> dict[str, Any]:
    return {"problem": one.problem} if one.standing is None else {"problem": None, **vars(one.standing)}
