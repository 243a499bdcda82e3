"""`hearken job`: ask an endpoint, without HTTP and without its secret."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial

import click
from pydantic import ValidationError

from worker.cli.output import print_json
from worker.cli.progress import bar
from worker.cli.runs import tell
from worker.cli.session import connected, load_handlers, operator
from worker.declaration import Handler
from worker.endpoints import Endpoint
from worker.errors import AlreadyRunning, UsageError
from worker.registry import Registry
from worker.requests import ask, problems, sound, wait_for
from worker.runs import Run, find_run

FAILED = 1


@click.command(short_help="Ask an endpoint, as its POST does.")
@click.argument("name")
@click.option("--body", default="{}", metavar="JSON", help="What the POST's body would be.")
@click.option("--force", is_flag=True, help="Also while another run is under way.")
@click.option("--wait", is_flag=True, help="Wait for the outcome; exit code 1 when it failed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def job(name: str, body: str, force: bool, wait: bool, as_json: bool) -> None:
    """Append a request for the endpoint NAME; a worker does it.

    Ctrl-C ends the waiting alone: the run goes on, and `hearken runs RUN` tells its outcome.
    """
    run = asyncio.run(_ask(name, body, force=force, wait=wait))
    if as_json:
        print_json(asdict(run))
    elif wait:
        tell(run)
    else:
        click.echo(f"run {run.event_id}: `hearken runs {run.event_id}` tells its outcome")
    if run.state == "dead":
        raise SystemExit(FAILED)


async def _ask(name: str, body: str, *, force: bool, wait: bool) -> Run:
    registry = load_handlers()
    handler, endpoint = _endpoint(registry, name)
    document = _sound(endpoint, body)
    async with connected(registry, "job") as connection:
        alone = endpoint.alone and not force
        try:
            asked = await ask(connection, handler, document, source="cli", alone=alone, by=operator())
        except AlreadyRunning as error:
            raise UsageError(f"{error}, or ask again with --force") from None
        if wait:
            click.echo(
                f"run {asked.event_id}: waiting; Ctrl-C leaves it, `hearken runs {asked.event_id}` tells", err=True
            )
        look = partial(find_run, connection, asked.event_id)
        run = await (_watch(name, look) if wait else look())
    if run is None:
        raise UsageError(f"run {asked.event_id} is gone: somebody has removed it from hearken.runs")
    return run


async def _watch(name: str, look: Callable[[], Awaitable[Run | None]]) -> Run | None:
    with bar(name) as tell_bar:

        def seen(run: Run) -> None:
            progress = run.progress or {}
            tell_bar(progress.get("done", 0), progress.get("total"), progress.get("text") or run.state)

        return await wait_for(look, math.inf, asyncio.Event(), seen)


def _endpoint(registry: Registry, name: str) -> tuple[Handler, Endpoint]:
    known = {
        handler.endpoint.name: (handler, handler.endpoint) for handler in registry.handlers.values() if handler.endpoint
    }
    if name not in known:
        raise UsageError(f"no such endpoint: {name}; known are {', '.join(sorted(known)) or 'none'}")
    return known[name]


def _sound(endpoint: Endpoint, body: str) -> str:
    try:
        return sound(endpoint.body, body)
    except ValidationError as error:
        said = "; ".join(f"{one['field']}: {one['problem']}" for one in problems(error))
        raise UsageError(f"--body does not fit {endpoint.name}: {said}") from None
