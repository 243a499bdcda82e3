"""`hearken reconcile`: where a system's source and destination disagree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click
import psycopg

from worker.commands.failures import NEGATIVE, describe_failure
from worker.commands.output import fields, print_json, print_table, printable
from worker.commands.progress_bar import progress
from worker.commands.session import load_handlers, operator, serving
from worker.declare.reconciler import Drift
from worker.deliver.context import Context
from worker.errors import HearkenError, UsageError
from worker.operate.audit import Actor
from worker.operate.reconcile import Reconciled, find_reconciler, reconcile

EVERY = 60.0


@click.command("reconcile", short_help="Find and fix what differs between source and destination.")
@click.argument("system", required=False)
@click.option("--apply", is_flag=True, help="Send what differs to its handler, through the log.")
@click.option("--rate", type=click.FloatRange(min=0.1), metavar="N", help="Send at most this many keys per second.")
@click.option("--reason", help="Reason, kept in the note of the new events.")
@click.option(
    "--watch",
    type=click.FloatRange(min=1),
    is_flag=False,
    flag_value=EVERY,
    metavar="[SECONDS]",
    help="Repeat every SECONDS (60 unless given), until Ctrl-C.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one document per comparison.")
def reconcile_command(
    system: str | None, apply: bool, rate: float | None, reason: str | None, watch: float | None, as_json: bool
) -> int:
    """List what differs between SYSTEM's table and its destination; without SYSTEM, list the systems.

    A key whose events the handler has yet to deliver or to retry is in flight, not drift: it is counted separately.
    Exits with 1 when there is drift; with --apply, when some of it was not sent, because only a person can fix it.
    What was sent is fixed once the handler has delivered it: see `hearken status`, or reconcile again.
    """
    if not apply and (rate is not None or reason is not None):
        raise UsageError("--rate and --reason need --apply")
    registry = load_handlers()
    if system is None:
        _list(sorted(registry.reconcilers), as_json=as_json)
        return 0
    find_reconciler(system, registry)
    actor = Actor(operator(), reason) if apply else None
    return asyncio.run(_reconcile(system, actor, rate, watch, as_json=as_json))


def _list(names: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        print_json(names)
    for name in names if not as_json else ():
        click.echo(name)


async def _reconcile(name: str, actor: Actor | None, rate: float | None, watch: float | None, *, as_json: bool) -> int:
    registry = load_handlers()
    topic = registry.handlers[find_reconciler(name, registry).handler].topic
    async with serving(registry, "reconcile", [topic]) as services:
        ctx = Context("reconcile", services)
        while True:
            try:
                code = await _once(name, ctx, actor, rate, as_json=as_json)
            except (HearkenError, psycopg.OperationalError) as error:
                failure = describe_failure(error)
                if watch is None or failure is None:
                    raise
                click.echo(f"hearken: {failure.message}", err=True)
            if watch is None:
                return code
            await asyncio.sleep(watch)


async def _once(name: str, ctx: Context, actor: Actor | None, rate: float | None, *, as_json: bool) -> int:
    with progress(f"reconcile {name}") as tell:
        tell(0, None, "comparing")
        found = await reconcile(name, ctx, mend=actor, rate=rate)
    if as_json:
        print_json(_facts(found))
    else:
        _say(found, mended=actor is not None)
    return NEGATIVE if (found.left if actor else found.drift) else 0


def _facts(found: Reconciled) -> dict[str, Any]:
    drift = [
        {
            "kind": one.kind,
            "key": one.key,
            "object": one.object,
            "changed": {name: list(pair) for name, pair in one.changed.items()},
            "text": one.text,
            "mendable": one.mendable,
        }
        for one in found.drift
    ]
    keys = {"in_flight": found.in_flight, "sent": found.sent, "unsent": found.unsent}
    return {"system": found.name, "handler": found.handler, "drift": drift, **keys}


def _say(found: Reconciled, *, mended: bool) -> None:
    """The table; below it, on standard error, a summary."""
    if found.drift:
        print_table(("kind", "key", "object", "difference"), [_row(one) for one in found.drift])
    kinds = Counter(one.kind for one in found.drift)
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    click.echo(f"{found.name}: {counts or 'no drift'}", err=True)
    if found.in_flight:
        click.echo(f"in flight: {len(found.in_flight)} keys with events that {found.handler} has yet to get", err=True)
    if mended:
        click.echo(f"sent to {found.handler}: {len(found.sent)} keys; `hearken status` shows its progress", err=True)
    if found.unsent:
        click.echo(f"not sent: {', '.join(map(printable, found.unsent))}: try again later", err=True)
    if for_people := sum(not one.mendable for one in found.drift):
        click.echo(f"needs a person: {for_people}, which {found.handler} cannot fix", err=True)


def _row(one: Drift) -> tuple[object, ...]:
    difference = "; ".join(part for part in (fields(one.changed), one.text) if part)
    return (one.kind, one.key and printable(one.key), one.object and printable(one.object), difference or None)
