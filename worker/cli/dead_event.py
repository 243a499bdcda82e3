"""How `hearken dead show` prints a dead event."""

from __future__ import annotations

from typing import Any

import click

from worker.change import former
from worker.commands.output import printable, visible
from worker.operate.dead_event import Examined

# How many of the events that wait behind it are listed.
LISTED = 10


def print_examined(examined: Examined) -> None:
    """The event, its failure, the row now, and what waits: one after the other."""
    facts = examined.facts
    click.echo(f"event {facts['event_id']} of {facts['topic']}, key {_text(facts['key'])}, dead for {facts['handler']}")
    if facts["op"] is None:
        click.echo("it is no longer in the log: skip it, then change its row again")
    else:
        replay = f", replay of {facts['replay_of']}" if facts["replay_of"] is not None else ""
        click.echo(f"{facts['op']} at {facts['at']:%Y-%m-%d %H:%M:%S}{replay}")
    old = former(facts["op"], facts["old_json"], facts["new_json"])
    for name, document in {"note": facts["note_json"], "old": old, "new": facts["new_json"]}.items():
        if document is not None:
            click.echo(f"{name}: {printable(document)}")
    click.echo(f"attempts: {facts['attempt']}, first parked at {examined.parked_at:%Y-%m-%d %H:%M:%S}")
    click.echo(f"reason: {printable(facts['reason'] or '-')}")
    if facts["error"]:
        click.echo("".join(f"  {printable(line)}\n" for line in facts["error"].splitlines()), nl=False)
    _print_row(examined)
    _print_behind(examined)


def _print_row(examined: Examined) -> None:
    if examined.unread is not None:
        click.echo(visible(f"row now: not read, {examined.unread}"))
    elif examined.row is None:
        click.echo("row now: gone")
    else:
        click.echo("row now:")
        for column, value in examined.row.items():
            click.echo(f"  {printable(column)} = {_text(value)}")


def _print_behind(examined: Examined) -> None:
    behind = examined.behind
    click.echo(f"waiting behind it: {len(behind):,} of its key" if behind else "nothing waits behind it")
    for event in behind[:LISTED]:
        at = "no longer in the log" if event["at"] is None else f"{event['op']} at {event['at']:%Y-%m-%d %H:%M:%S}"
        click.echo(f"  {event['event_id']}  {at}")
    if len(behind) > LISTED:
        click.echo(f"  and {len(behind) - LISTED:,} more")


def _text(value: Any) -> str:
    return "-" if value is None else printable(str(value))
