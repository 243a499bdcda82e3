"""`hearken dev`: a worker with everything it needs, on a machine that has nothing but Python."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click

from worker.commands.session import load_handlers
from worker.declare.registry import Registry
from worker.dev.folder import claimed
from worker.dev.playing import play_all
from worker.dev.running import Running, running
from worker.dev.surroundings import load_parts
from worker.settings import HandlersSetting


@click.command(short_help="Run everything on this machine, Postgres included.")
@click.option("--demo", is_flag=True, help="Show what happens when a row changes, verify it, and exit.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".hearken"),
    show_default=True,
    help="Folder for the database and the state of the stand-ins. A demo keeps nothing.",
)
def dev(*, demo: bool, data: Path) -> None:
    """Run a worker until Ctrl-C, with its own Postgres and a local stand-in for each outside system.

    Set DATABASE_URL to use that database instead. Set an outside system's own variables, with test credentials, to
    use that system instead of its stand-in.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may not support every character
    registry = load_handlers()
    load_parts(HandlersSetting().modules)
    try:
        asyncio.run(_demo(registry) if demo else _develop(registry, data))
    except asyncio.CancelledError:
        if demo:
            raise click.Abort from None


async def _demo(registry: Registry) -> None:
    os.environ.setdefault("HEARKEN_LOG_LEVEL", "warning")
    _Ending()
    await play_all(registry)
    click.echo("\nEverything is as it should be.")


async def _develop(registry: Registry, data: Path) -> None:
    ending = _Ending()
    with claimed(data) as folder:
        click.echo(f"Starting, with data in {folder}.")
        async with running(registry, folder, throwaway=False) as world:
            ending.hurry = world.hurry
            await world.meanwhile(_introduce(world))
            await asyncio.shield(world.work)


async def _introduce(world: Running) -> None:
    """Print what is there and how to reach it, once the worker is ready."""
    await world.app.ready.wait()
    host, _ = world.app.settings.address
    _say("database", world.around.psql)
    _say("health", f"http://{host}:{world.app.http.port}/health")
    for answer in await world.checks():
        _say(answer.name, answer.text if answer.ok else f"NOT READY: {answer.text}")
    for variables in world.around.stand_ins.values():
        _say("", "local: " + " ".join(f"{name}={value}" for name, value in variables.items()))
    _say("handlers", ", ".join(sorted(world.app.registry.handlers)))
    click.echo("Ready. Press Ctrl-C to stop.")


def _say(label: str, text: str) -> None:
    click.echo(f"  {label:<9} {text}")


class _Ending:
    """What a signal does: the first cancels the task that made this, which shuts down in order; another one hurries."""

    def __init__(self) -> None:
        self.hurry: Callable[[], None] | None = None
        self._task = asyncio.current_task()
        self._asked = False
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._ask)

    def _ask(self) -> None:
        if self._asked and self.hurry is not None:
            self.hurry()
        elif not self._asked and self._task is not None:
            self._asked = True
            self._task.cancel()
            click.echo("Stopping." + (" Ctrl-C again to hurry." if self.hurry else ""), err=True)
