"""`hearken replay`: append past events again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import click

from worker.cli import INTERRUPTED
from worker.cli.events import OPS
from worker.cli.render.preview import show_previews
from worker.cli.render.replay import Told
from worker.cli.selection import SelectionOptions, select_events
from worker.commands.failures import NEGATIVE
from worker.commands.output import print_table, printable
from worker.commands.progress_bar import progress
from worker.commands.session import confirm, connected, load_handlers, operator
from worker.declare.registry import Registry
from worker.errors import UsageError
from worker.operate.audit import Actor
from worker.operate.replay import Replay, begin_replay, find_unfinished, refuse_unheard, resume_replay
from worker.operate.selection import SelectedEvent, SelectionCount, count_selected, read_selected, take_snapshot
from worker.operate.throttle import Throttle, append_all
from worker.postgres.database import Connection

ID = click.IntRange(min=1, max=2**63 - 1)
SAMPLE = 5
RATE = 500.0


@dataclass(frozen=True)
class Orders:
    """How to do it. `run` is the replay to resume; `afresh` starts over instead of resuming an interrupted one."""

    reason: str | None
    rate: float
    run: int | None
    afresh: bool
    dry_run: bool
    yes: bool
    as_json: bool


@click.command(short_help="Append past events again, for their handlers.")
@click.argument("event_ids", metavar="[EVENT_ID]...", type=ID, nargs=-1)
@click.option("--topic", help="Only events of this topic, such as public.spaces.")
@click.option("--key", help="Only events of this key; a JSON array where the primary key has several columns.")
@click.option("--op", type=click.Choice(OPS), help="Only events of this operation.")
@click.option("--since", metavar="TIME", help="Not before this time: ISO (UTC), or an age such as 30m, 2h, 7d.")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--handler", "handlers", multiple=True, metavar="NAME", help="Only for this handler; may be repeated.")
@click.option("--dead", is_flag=True, help="Only dead events, each for the handler it is dead for.")
@click.option("--reason", help="Reason, kept in the note of the new events.")
@click.option(
    "--rate", type=click.FloatRange(min=0.1), default=RATE, show_default=True, help="At most this many per second."
)
@click.option("--run", type=ID, metavar="ID", help="Resume an interrupted replay.")
@click.option("--afresh", is_flag=True, help="Start over, even if the same command was interrupted within the hour.")
@click.option("--dry-run", is_flag=True, help="Do nothing; print what the handlers would do outside, key by key.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def replay(
    event_ids: Sequence[int],
    topic: str | None,
    key: str | None,
    op: str | None,
    since: str | None,
    until: str | None,
    handlers: Sequence[str],
    dead: bool,
    reason: str | None,
    rate: float,
    run: int | None,
    afresh: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Append past events again, marked as replays of the old ones, and wake their handlers.

    Events must match every option. Events that are replays themselves are only chosen by id or with --dead. Without
    --handler each goes to every handler that subscribes to it. A dead event (--dead) is no longer parked once it is
    appended, and comes after the events that were held behind it; `hearken dead retry` retries one in its old place
    instead.

    New changes are not delayed: the next events are appended when the handlers have delivered the last. Ctrl-C stops
    between two chunks, with exit code 130. After any interruption the same command resumes within an hour, or --run
    at any time: no event is left out, none is appended twice.
    """
    asked = SelectionOptions(event_ids, topic, key, op, since, until, handlers, dead)
    orders = Orders(reason, rate, run, afresh, dry_run, yes, as_json)
    if run is None:
        asked.check()
    elif asked != SelectionOptions() or reason or afresh:
        raise UsageError("--run resumes what was chosen then: leave out the other options")
    return asyncio.run(_replay(asked, orders))


async def _replay(asked: SelectionOptions, orders: Orders) -> int:
    registry = load_handlers()
    async with connected(registry, "replay", patient=True) as connection:
        run = await _find_run(connection, registry, asked, orders)
        count = await count_selected(connection, run.choice, after=run.after)
        if not run.id and ((asked.ids and not asked.dead) or (count.events and run.choice.named)):
            refuse_unheard(run.choice, count)
        told = Told(run, count, as_json=orders.as_json)
        if not count.events:
            return told.nothing_to_do(NEGATIVE)
        if orders.dry_run:
            return await show_previews(registry, await _newest(connection, run), as_json=orders.as_json)
        if sys.stdin.isatty() or (orders.yes and not orders.as_json):  # where nobody can be asked it fails in one line
            _show(count, await read_selected(connection, run.choice, after=run.after, limit=SAMPLE))
        whom = ", ".join(name for name, events in count.handlers.items() if events)
        go = "Resume replaying" if run.id else "Replay"
        confirm(f"{go} {count.events:,} {'event' if count.events == 1 else 'events'} for {whom}?", yes=orders.yes)
        if not run.id:
            choice = replace(run.choice, last=count.last)
            run = told.run = await begin_replay(connection, choice, run.actor, asked.words)
        return await _append(connection, run, count, told, orders)


async def _newest(connection: Connection, run: Replay) -> dict[str, dict[str, list[int]]]:
    """For each handler that gets any of the events, by topic, the newest one of each key that it gets."""
    newest: dict[str, dict[str, dict[str | None, int]]] = {}
    after = run.after
    while page := await read_selected(connection, run.choice, after=after):
        for event in page:
            for name in event.heard:
                newest.setdefault(name, {}).setdefault(event.topic, {})[event.key] = event.id
        after = page[-1].id
    return {name: {topic: sorted(ids.values()) for topic, ids in of_it.items()} for name, of_it in newest.items()}


async def _find_run(connection: Connection, registry: Registry, asked: SelectionOptions, orders: Orders) -> Replay:
    """The run to resume, or a new one (id 0) that begins once it is confirmed."""
    if orders.run is not None:
        run = await resume_replay(connection, registry.handlers, orders.run)
        await take_snapshot(connection)
        return run
    choice = await select_events(connection, registry, asked)
    if not orders.afresh and (found := await find_unfinished(connection, registry.handlers, asked.words)):
        click.echo(f"this resumes replay {found.id}, which was interrupted (--afresh starts over)", err=True)
        return found
    return Replay(0, choice, Actor(operator(), orders.reason))


def _show(count: SelectionCount, sample: Sequence[SelectedEvent]) -> None:
    """What is about to be appended, on standard error."""
    rows = [
        (e.id, f"{e.at:%Y-%m-%d %H:%M:%S}", e.op, e.topic, e.key and printable(e.key), ", ".join(e.heard))
        for e in sample
    ]
    print_table(("event", "at", "op", "topic", "key", "for"), rows, err=True)
    if count.events > len(sample):
        click.echo(f"… and {count.events - len(sample):,} more", err=True)


async def _append(connection: Connection, run: Replay, count: SelectionCount, told: Told, orders: Orders) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        stop.set()
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one ends it at once
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    heard = [handler for handler in run.choice.handlers if count.handlers[handler.name]]
    with progress(f"replay {run.id}") as tell:
        told.begins()
        pace = Throttle(connection, heard, orders.rate, stop, lambda names: told.waits(names, tell))
        async for chunk in append_all(run, pace):
            told.appended(chunk)
            tell(told.events, count.events, None)
    return told.ended(INTERRUPTED if stop.is_set() and not told.complete else 0)
