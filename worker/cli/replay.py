"""`hearken replay`: append past events again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from worker.cli.output import print_json
from worker.cli.previews import show_previews
from worker.cli.session import confirm, connected, load_handlers, operator
from worker.database import Connection
from worker.errors import UsageError
from worker.events import Event, Filter, find_events, known_topics
from worker.replay import Reason, Replayed, choose_audience
from worker.replay import replay as append_again

ID = click.IntRange(min=1, max=2**63 - 1)


@click.command(short_help="Append past events again, for their handlers.")
@click.argument("event_ids", metavar="EVENT_ID...", type=ID, nargs=-1, required=True)
@click.option("--handler", "handlers", multiple=True, metavar="NAME", help="Only for this handler; may be repeated.")
@click.option("--reason", help="Why; kept in the new events' note.")
@click.option("--dry-run", is_flag=True, help="Do nothing; print what the handlers would do outside, key by key.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    event_ids: Sequence[int], handlers: Sequence[str], reason: str | None, dry_run: bool, yes: bool, as_json: bool
) -> int:
    """Append events of the log again, marked as replays of the old ones, and wake their handlers."""
    ids = sorted(set(event_ids))
    if dry_run:
        return asyncio.run(_preview(ids, handlers, as_json=as_json))
    replayed = asyncio.run(_replay(ids, handlers, Reason(operator(), reason), yes=yes))
    if as_json:
        print_json({"events": replayed.events, "handlers": replayed.handlers})
        return 0
    for event in replayed.events:
        click.echo(f"{event['id']}  replay of {event['replay_of']}  {event['topic']}  {event['key'] or '-'}")
    click.echo("for " + ", ".join(f"{name} ({count})" for name, count in replayed.handlers.items()), err=True)
    return 0


async def _preview(ids: Sequence[int], names: Sequence[str], *, as_json: bool) -> int:
    registry = load_handlers()
    async with connected(registry, "replay") as connection:
        events = await _find(connection, ids)
        audience = await choose_audience(connection, registry.handlers, names, {event.topic for event in events})
    heard = {h.name: [(e.id, e.topic, e.key) for e in events if e.topic in h.topics] for h in audience.handlers}
    return await show_previews(registry, heard, as_json=as_json)


async def _replay(ids: Sequence[int], names: Sequence[str], reason: Reason, *, yes: bool) -> Replayed:
    registry = load_handlers()
    async with connected(registry, "replay") as connection:
        events = await _find(connection, ids)
        audience = await choose_audience(connection, registry.handlers, names, {event.topic for event in events})
        whom = ", ".join(handler.name for handler in audience.handlers)
        confirm(f"Replay {len(events)} {'event' if len(events) == 1 else 'events'} for {whom}?", yes=yes)
        return await append_again(connection, events, audience, reason)


async def _find(connection: Connection, ids: Sequence[int]) -> list[Event]:
    topics = await known_topics(connection)
    events = await find_events(connection, Filter(topics, ids=ids), limit=len(ids))
    if missing := sorted(set(ids) - {event.id for event in events}):
        raise UsageError(f"no such event: {', '.join(map(str, missing))}; nothing is replayed")
    return events
