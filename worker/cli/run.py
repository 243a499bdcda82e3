"""`hearken run`: the worker itself, until it is stopped."""

from __future__ import annotations

import asyncio

import click

from worker import app
from worker.commands.session import load_handlers
from worker.settings import Settings
from worker.telemetry import logs


@click.command(short_help="Run a worker until SIGTERM.")
@click.option("--json", "as_json", is_flag=True, help="Log JSON even on a terminal.")
def run(as_json: bool) -> None:
    """Run a worker until SIGTERM or SIGINT, then finish what it has started and exit with 0.

    Any number of workers may run over one database. A worker that starts before its database is reachable or
    migrated waits for it.
    """
    registry = load_handlers()
    settings = app.read_all_settings(registry)
    logs.configure(settings[Settings].log_level, as_json=as_json)
    asyncio.run(app.run(registry, settings))
