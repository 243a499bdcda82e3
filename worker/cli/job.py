"""`hearken job`: run an endpoint, without HTTP and its secret, or a schedule now."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import click
from pydantic import ValidationError

from worker.cli.runs import print_runs
from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json
from worker.commands.progress_bar import progress
from worker.commands.session import connected, load_handlers, operator
from worker.declare.handler import Handler
from worker.declare.registry import Registry
from worker.deliver.runs import Run, find_run
from worker.errors import AlreadyRunning, UsageError
from worker.operate.audit import Actor
from worker.postgres.database import Connection
from worker.sources.requests import append_manual_tick, append_request, problems, sound, wait_for


@click.command(short_help="Run an endpoint or a schedule now.")
@click.argument("name")
@click.option("--body", metavar="JSON", help="The body, as a POST would send it.")
@click.option("--force", is_flag=True, help="Even while another run is in progress.")
@click.option("--reason", help="Reason, kept in the event's note.")
@click.option("--wait", is_flag=True, help="Wait for the outcome; exit code 1 when it failed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def job(name: str, body: str | None, force: bool, reason: str | None, wait: bool, as_json: bool) -> int:
    """Append a request for the endpoint NAME, or a tick of the schedule NAME that is due now; a worker runs it.

    Ctrl-C only stops the waiting: the run continues, and `hearken runs RUN` shows its outcome.
    """
    run = asyncio.run(_run(name, body, reason, force=force, wait=wait))
    if as_json:
        print_json(run)
    elif wait:
        print_runs(run)
    else:
        click.echo(f"run {run.event_id}: `hearken runs {run.event_id}` shows its outcome")
    return NEGATIVE if run.state == "dead" else 0


async def _run(name: str, body: str | None, reason: str | None, *, force: bool, wait: bool) -> Run:
    registry = load_handlers()
    handler = _named(registry, name)
    document = _sound(handler, body)
    async with connected(registry, "job") as connection:
        event_id = await _ask(connection, handler, document, Actor(operator(), reason).note, force=force)
        if wait:
            click.echo(f"run {event_id}: waiting; Ctrl-C stops waiting, not the run", err=True)
        look = partial(find_run, connection, event_id)
        run = await (_watch(name, look) if wait else look())
    if run is None:
        raise UsageError(f"run {event_id} is gone: it was deleted from hearken.runs")
    return run


async def _ask(connection: Connection, handler: Handler, document: str, note: Mapping[str, str], *, force: bool) -> int:
    if handler.endpoint is None:
        return await append_manual_tick(connection, handler, note=note)
    alone = handler.endpoint.alone and not force
    try:
        return await append_request(connection, handler, document, source="cli", alone=alone, note=note)
    except AlreadyRunning as error:
        raise AlreadyRunning(error.event_id, f"{error}, or run it anyway with --force") from None


async def _watch(name: str, look: Callable[[], Awaitable[Run | None]]) -> Run | None:
    with progress(name) as draw:

        def seen(run: Run) -> None:
            said = run.progress or {}
            draw(said.get("done", 0), said.get("total"), said.get("text") or run.state)

        return await wait_for(look, math.inf, asyncio.Event(), seen)


def _named(registry: Registry, name: str) -> Handler:
    """The handler of the endpoint or schedule of that name."""
    runs = (handler for handler in registry.handlers.values() if not handler.is_table)
    known = {handler.topic.partition("/")[2]: handler for handler in runs}
    if name not in known:
        raise UsageError(f"no such endpoint or schedule: {name}; known: {', '.join(sorted(known)) or 'none'}")
    return known[name]


def _sound(handler: Handler, body: str | None) -> str:
    if handler.endpoint is None:
        if body is not None:
            raise UsageError("a schedule takes no --body")
        return ""
    try:
        return sound(handler.endpoint.body, body or "")
    except ValidationError as error:
        said = "; ".join(f"{one['field']}: {one['problem']}" for one in problems(error))
        raise UsageError(f"--body is not valid for {handler.endpoint.name}: {said}") from None
