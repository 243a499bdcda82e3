"""`hearken dead`: list, show, retry and skip the events that need a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import click

from worker.cli.dead_event import print_examined
from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json, print_table, printable
from worker.commands.session import check_known, confirm, connected, load_handlers, operator
from worker.errors import Overtaken, UsageError
from worker.operate import dead as events
from worker.operate.audit import Actor, last
from worker.operate.dead import Dead, DeadFilter, Group
from worker.operate.dead_event import Examined, examine_dead
from worker.postgres.database import Connection

ID = click.IntRange(min=1, max=2**63 - 1)
HEADINGS = ("handler", "events", "oldest", "newest", "example", "reason")
Act = Callable[[Connection, Sequence[Dead]], Awaitable[list[Dead]]]

_handler = click.option("--handler", metavar="NAME", help="Only events of this handler.")
_matching = click.option(
    "--matching", metavar="TEXT", help="Only events with TEXT in their reason; # matches any number."
)
_yes = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_all = click.option("--all", "everything", is_flag=True, help="All dead events of all handlers.")


@click.group()
def dead() -> None:
    """Events that a person must look at: list, show, retry, skip.

    A dead event has used up its attempts, or its handler gave it up. Later events of its key wait behind it. Fix the
    row and retry, or skip. An event is never edited: it only says which row to look at.
    """


@dead.command("list", short_help="Group dead events by handler and reason.")
@_handler
@_json
def list_(handler: str | None, as_json: bool) -> None:
    """Group the dead events by handler and reason.

    Reasons that differ only in numbers form one group, with # for each number and the count of different reasons.
    """
    groups = asyncio.run(_list(handler))
    if as_json:
        print_json(groups)
    elif groups:
        print_table(HEADINGS, [_row(group) for group in groups])
    else:
        click.echo("no dead events", err=True)


@dead.command(short_help="Show one dead event, its row now, and what waits behind it.")
@click.argument("event_id", type=ID)
@_handler
@_json
def show(event_id: int, handler: str | None, as_json: bool) -> None:
    """Show a dead event: what changed, its last failure, the row as it is now, and the events that wait behind it."""
    examined = asyncio.run(_show(DeadFilter(event_id, handler)))
    if as_json:
        print_json(examined)
    else:
        print_examined(examined)


@dead.command(short_help="Retry dead events.")
@click.argument("event_id", type=ID, required=False)
@_handler
@_matching
@_all
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N", help="At most this many per second.")
@click.option("--reason", help="Reason to record.")
@_yes
@_json
def retry(
    event_id: int | None,
    handler: str | None,
    matching: str | None,
    everything: bool,
    rate: float | None,
    reason: str | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Make dead events due now, with all their attempts again. The events that wait behind them follow in order."""
    actor = Actor(operator(), reason)
    choice = _choice(event_id, handler, matching, everything=everything)

    async def act(connection: Connection, chosen: Sequence[Dead]) -> list[Dead]:
        return await events.retry(connection, chosen, actor, rate=rate)

    return asyncio.run(_act("retry", "retried", choice, act, yes=yes, as_json=as_json))


@dead.command(short_help="Drop dead events, with a reason.")
@click.argument("event_id", type=ID, required=False)
@_handler
@_matching
@_all
@click.option("--reason", required=True, help="Reason to record.")
@_yes
@_json
def skip(
    event_id: int | None,
    handler: str | None,
    matching: str | None,
    everything: bool,
    reason: str,
    yes: bool,
    as_json: bool,
) -> int:
    """Drop dead events for good; the events behind them come next. Who skipped them, and why, is recorded."""
    actor = Actor(operator(), reason)
    choice = _choice(event_id, handler, matching, everything=everything)

    async def act(connection: Connection, chosen: Sequence[Dead]) -> list[Dead]:
        return await events.skip(connection, chosen, actor)

    return asyncio.run(_act("skip", "skipped", choice, act, yes=yes, as_json=as_json))


def _choice(event_id: int | None, handler: str | None, matching: str | None, *, everything: bool) -> DeadFilter:
    """Raises UsageError for none and for too many: nobody should retry more than they meant to."""
    if everything and (event_id, handler, matching) != (None, None, None):
        raise UsageError("--all means every dead event: give it alone, or leave it out")
    if event_id is not None and matching is not None:
        raise UsageError("give an event's id, or --matching, not both")
    if matching is not None and not matching.strip():
        raise UsageError("--matching is empty and would match every event: use --all for that")
    if not everything and (event_id, handler, matching) == (None, None, None):
        raise UsageError("say which events: an id, --handler, --matching or --all; `hearken dead list` shows them")
    return DeadFilter(event_id, handler, matching)


async def _list(handler: str | None) -> list[Group]:
    registry = load_handlers()
    async with connected(registry, "dead") as connection:
        if handler is not None:
            await check_known(connection, registry, handler)
        return await events.group(connection, handler)


async def _show(choice: DeadFilter) -> Examined:
    registry = load_handlers()
    async with connected(registry, "dead") as connection:
        if choice.handler is not None:
            await check_known(connection, registry, choice.handler)
        (one,) = await _choose(connection, choice)
        examined = await examine_dead(connection, one, registry.handlers)
    if examined is None:
        raise Overtaken(f"event {one.event_id} of {one.handler} is no longer dead")
    return examined


async def _act(verb: str, done: str, choice: DeadFilter, act: Act, *, yes: bool, as_json: bool) -> int:
    registry = load_handlers()
    async with connected(registry, "dead", patient=True) as connection:
        if choice.handler is not None:
            await check_known(connection, registry, choice.handler)
        chosen = await _choose(connection, choice)
        counts = Counter(one.handler for one in chosen)
        whose = ", ".join(f"{count:,} of {handler}" for handler, count in counts.items())
        if chosen:
            confirm(f"{verb.capitalize()} {_events(len(chosen))} ({whose})?", yes=yes)
        acted = await act(connection, chosen) if chosen else []
    if as_json:
        print_json({done: len(acted), "chosen": len(chosen), "handlers": dict(Counter(one.handler for one in acted))})
    elif not chosen:
        click.echo(f"no dead event matches: nothing was {done}", err=True)
    else:
        click.echo(f"{_events(len(acted))} {done}", err=True)
    if missing := len(chosen) - len(acted):
        click.echo(f"{_events(missing)} no longer dead: somebody else acted first, or a newer event came", err=True)
    return 0 if acted else NEGATIVE


async def _choose(connection: Connection, choice: DeadFilter) -> list[Dead]:
    """Raises UsageError for an id that is not dead, or dead for several handlers; Overtaken when it no longer is."""
    chosen = await events.find_dead(connection, choice)
    if choice.event_id is not None and len(chosen) != 1:
        event = f"event {choice.event_id}"
        if chosen:
            raise UsageError(f"{event} is dead for {', '.join(one.handler for one in chosen)}: choose with --handler")
        if before := await last(connection, ["retry", "skip"], handler=choice.handler, event_id=choice.event_id):
            raise Overtaken(f"{event} is no longer dead: {before}")
        raise UsageError(f"{event} is not dead: `hearken dead list` shows the events that are")
    return chosen


def _events(count: int) -> str:
    return f"{count:,} dead {'event' if count == 1 else 'events'}"


def _row(group: Group) -> tuple[object, ...]:
    times = (f"{group.oldest:%Y-%m-%d %H:%M}", f"{group.newest:%Y-%m-%d %H:%M}")
    several = f" ({group.different:,} different)" if group.different > 1 else ""
    return (group.handler, group.events, *times, group.example, printable(group.reason) + several)
