"""`hearken status`: how far each handler is."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from worker.commands.output import print_json, print_table
from worker.commands.session import connected, load_handlers
from worker.declare.handler import of_engine
from worker.observe.status import HandlerStatus, read_status
from worker.telemetry.spans import span

HEADINGS = ("handler", "hears", "behind", "oldest", "running", "due", "held", "dead", "state", "who")


@click.command(short_help="How far each handler is, and who runs it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """List the handlers: how many events each is behind and the age of the oldest, what it has parked, who runs it.

    \b
    running           deliveries that go on beside later ones
    due, held, dead   parked events: to be retried, waiting behind one of their key, in need of a person
    state             working, idle (asleep until there is work), waiting (paused,
                      braked, or its destination is down), nobody (no worker runs it); or what is wrong with it
    """
    found = asyncio.run(_read())
    if as_json:
        print_json([asdict(one) for one in found])
    elif found:
        print_table(HEADINGS, [_row(one) for one in found])
    else:
        click.echo("no handlers: set HEARKEN_HANDLERS to the modules that declare them", err=True)


async def _read() -> list[HandlerStatus]:
    registry = load_handlers()
    async with connected(registry, "status") as connection:
        found = await read_status(connection, registry.every_handler)
    return [one for one in found if not of_engine(one.handler) or _is_unwell(one)]


def _is_unwell(one: HandlerStatus) -> bool:
    """The engine's own handlers are only listed when something is wrong with them."""
    return one.enrolled and (
        not one.native or one.differs is not None or one.paused is not None or one.due + one.held + one.dead > 0
    )


def _row(one: HandlerStatus) -> tuple[object, ...]:
    name = one.handler if one.shards == 1 else f"{one.handler}/{one.shard}"
    behind = f"{one.behind}+" if one.behind_is_at_least else one.behind
    counts = (behind, span(one.oldest), one.running, one.due, one.held, one.dead)
    return (name, ",".join(one.topics), *counts, _state(one), ", ".join(one.who) or None)


def _state(one: HandlerStatus) -> str:
    if (unfit := _unfit(one)) is not None:
        return unfit
    if one.braked is not None:
        return f"braked: {one.braked}; fix the rows if they are wrong, then `hearken resume {one.handler} --confirm`"
    if one.paused is not None:
        return f"paused: {one.paused}"
    return one.state if one.next_due is None else f"{one.state}, {_next_tick(one)}"


def _unfit(one: HandlerStatus) -> str | None:
    """Why no worker with this code may run it, if so."""
    if not one.enrolled:
        return "not migrated: run `hearken migrate`"
    if not one.native:
        return "from another database: run `hearken rebase`"
    if not one.declared:
        return "gone from the code: run `hearken forget`"
    if one.differs is not None:
        return f"declared otherwise ({one.differs}): run `hearken migrate` with the newer code"
    return None


def _next_tick(one: HandlerStatus) -> str:
    due = f"{one.next_due:%Y-%m-%d %H:%M} UTC"
    return f"tick of {due} is late by {span(one.late)}" if one.late else f"next tick {due}"
