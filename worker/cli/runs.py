"""`hearken runs`: outcomes of ticks and requests."""

from __future__ import annotations

import asyncio

import click

from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json, print_table
from worker.commands.session import connected, load_handlers
from worker.deliver.runs import Run, find_run, find_runs
from worker.errors import UsageError
from worker.telemetry.spans import span

HEADINGS = ("run", "what", "by", "asked", "took", "state", "attempt", "says")


@click.command(short_help="Outcomes of ticks and requests.")
@click.argument("run", type=click.IntRange(min=1), required=False)
@click.option("--topic", help="Only runs of this topic, such as tick/NAME or request/NAME.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(run: int | None, topic: str | None, limit: int, as_json: bool) -> int:
    """List the runs of schedules and endpoints, the newest first; or show one RUN, with its result.

    Exit code 1 when there are none, or when RUN is dead.
    """
    found = asyncio.run(_read(run, topic, limit))
    if as_json:
        print_json(found[0] if run is not None and found else found)
    elif run is not None and found:
        print_runs(found[0])
    elif found:
        print_table(HEADINGS, [_row(one) for one in found])
    else:
        click.echo("no runs", err=True)
    return NEGATIVE if not found or (run is not None and found[0].state == "dead") else 0


async def _read(run: int | None, topic: str | None, limit: int) -> list[Run]:
    registry = load_handlers()
    known = {handler.topic for handler in registry.handlers.values()}
    if topic is not None and topic not in known:
        kept = sorted(h.subscription.topic for h in registry.handlers.values() if not h.subscription.is_table)
        raise UsageError(f"no such topic: {topic}; known: {', '.join(kept) or 'none'}")
    async with connected(registry, "runs") as connection:
        if run is None:
            return await find_runs(connection, topic=topic, limit=limit)
        found = await find_run(connection, run)
    return [] if found is None else [found]


def print_runs(run: Run) -> None:
    """Everything about one run, a line each."""
    print_table(HEADINGS, [_row(run)])
    if run.result is not None:
        print_json(run.result)


def _row(run: Run) -> tuple[object, ...]:
    began = None if run.started_at is None or run.ended_at is None else run.ended_at - run.started_at
    took = None if began is None else _seconds(began.total_seconds())
    says = run.error or progress_of(run)
    return (
        run.event_id,
        run.topic,
        run.source,
        f"{run.asked_at:%Y-%m-%d %H:%M:%S}",
        took,
        run.state,
        run.attempt,
        says,
    )


def _seconds(seconds: float) -> str | None:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else span(seconds)


def progress_of(run: Run) -> str | None:
    """The progress that the handler last reported."""
    if run.progress is None or run.ended_at is not None:
        return None
    total = run.progress.get("total")
    counted = f"{run.progress['done']}" if total is None else f"{run.progress['done']} of {total}"
    return " ".join(part for part in (counted, run.progress.get("text")) if part)
