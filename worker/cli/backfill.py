"""`hearken backfill`: a snapshot event for every existing row of a table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from worker.capture.catalog import read_table
from worker.commands.output import print_json
from worker.commands.progress_bar import progress
from worker.commands.session import confirm, connected, load_handlers, operator
from worker.declare.registry import Registry
from worker.errors import UsageError
from worker.operate.audit import Actor
from worker.operate.backfill import Backfill, BackfillRequest, Filler, begin_backfill, lock_backfill
from worker.operate.replay import Audience, choose_audience
from worker.operate.where import check_condition
from worker.postgres.database import Connection

MOST = 10_000


@click.command(short_help="Send every existing row of a table to its handlers.")
@click.argument("table")
@click.option("--where", metavar="SQL", help="Only rows that match this SQL condition; the table is r in it.")
@click.option("--handler", "handlers", multiple=True, metavar="NAME", help="Only for this handler; may be repeated.")
@click.option("--rate", type=click.FloatRange(min=0.1), metavar="N", help="At most this many rows per second.")
@click.option("--chunk", type=click.IntRange(1, MOST), default=500, show_default=True, help="Rows per transaction.")
@click.option("--reason", help="Reason, kept in the note of the new events.")
@click.option("--restart", is_flag=True, help="Start over instead of resuming an unfinished backfill.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backfill(table: str, handlers: Sequence[str], as_json: bool, **options: Any) -> None:
    """Append a snapshot event for each row of TABLE that exists now, as its capture trigger would write it.

    A writer waits at most for the chunk that has its row. If the backfill stops, the same command resumes it.
    """
    doing = _Doing(table if "." in table else f"public.{table}", sorted(set(handlers)), options)
    try:
        done = asyncio.run(doing.run())
    except KeyboardInterrupt:
        click.echo(doing.stopped(), err=True)
        raise click.Abort from None
    if as_json:
        counts = {"rows": done.passed, "events": done.appended}
        print_json({"backfill": done.id, "topic": done.topic, **counts, "handlers": doing.audience_names})
    else:
        click.echo(f"{done.appended} snapshot events for {done.passed} rows of {done.topic}", err=True)


class _Doing:
    """One run of the command, and its progress."""

    def __init__(self, topic: str, names: Sequence[str], options: dict[str, Any]) -> None:
        self.topic = topic
        self.names = names
        self.options = options
        self.audience_names: list[str] = []
        self.filler: Filler | None = None

    def stopped(self) -> str:
        if self.filler is None:
            return "stopped before the first row"
        return f"stopped after {self.filler.backfill.passed} rows; run the same command to resume"

    async def run(self) -> Backfill:
        registry = load_handlers()
        async with connected(registry, "backfill") as connection:
            audience = await self._audience(connection, registry)
            where, reason = self.options["where"], self.options["reason"]
            request = BackfillRequest(
                await read_table(connection, self.topic), where, audience.target, Actor(operator(), reason)
            )
            estimate = await check_condition(connection, request.table, request.condition)
            known = await lock_backfill(connection, request, restart=self.options["restart"])
            confirm(_question(request, estimate, audience, known), yes=self.options["yes"])
            hearing = [h for h in registry.handlers.values() if h.topic == self.topic]
            self.filler = Filler(connection, known or await begin_backfill(connection, request), request, hearing)
            await self._fill(self.filler, estimate)
            return self.filler.backfill

    async def _audience(self, connection: Connection, registry: Registry) -> Audience:
        tables = sorted({h.topic for h in registry.handlers.values() if h.is_table})
        if self.topic not in tables:
            raise UsageError(f"no handler watches {self.topic}; watched tables: {', '.join(tables) or 'none'}")
        audience = await choose_audience(connection, registry.handlers, self.names, [self.topic])
        self.audience_names = [handler.name for handler in audience.handlers]
        return audience

    async def _fill(self, filler: Filler, estimate: int) -> None:
        with progress(f"rows of {self.topic}") as draw:

            def tell(passed: int, aside: int) -> None:
                draw(passed, max(estimate, passed), f"{aside} locked by writers" if aside else None)

            await filler.run(chunk=self.options["chunk"], rate=self.options["rate"], tell=tell)


def _question(request: BackfillRequest, estimate: int, audience: Audience, known: Backfill | None) -> str:
    whom = ", ".join(handler.name for handler in audience.handlers)
    which = f" where {request.condition}" if request.condition else ""
    if known is not None:
        return f"Resume the backfill of {known.topic}{which} by {known.by}, {known.passed} rows done, for {whom}?"
    return f"Append a snapshot event for each of about {estimate} rows of {request.table.topic}{which}, for {whom}?"
