"""The commands by name, each imported when it is asked for: `hearken --version` must not wait for a database driver."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click

LISTING = "commands.toml"


@dataclass(frozen=True)
class Place:
    """Where a command is (module:attribute), and what it does, in one line."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "dev": Place("worker.dev.command", "dev", "Run everything on this machine, Postgres included."),
    "run": Place("worker.cli.run", "run", "Run a worker until SIGTERM."),
    "migrate": Place("worker.cli.migrate", "migrate", "Update the database to what the code declares."),
    "status": Place("worker.cli.status", "status", "How far each handler is, and who runs it."),
    "events": Place("worker.cli.events", "events", "List the log, or follow it."),
    "explain": Place("worker.cli.explain", "explain", "Everything about one key, and where it stands now."),
    "replay": Place("worker.cli.replay", "replay", "Append past events again, for their handlers."),
    "dead": Place("worker.cli.dead", "dead", "Events that a person must look at: list, show, retry, skip."),
    "runs": Place("worker.cli.runs", "runs", "Outcomes of ticks and requests."),
    "job": Place("worker.cli.job", "job", "Run an endpoint or a schedule now."),
    "backfill": Place("worker.cli.backfill", "backfill", "Send every existing row of a table to its handlers."),
    "reconcile": Place(
        "worker.cli.reconcile", "reconcile_command", "Find and fix what differs between source and destination."
    ),
    "pause": Place("worker.cli.handlers", "pause", "Pause a handler."),
    "resume": Place("worker.cli.handlers", "resume", "Resume a paused handler."),
    "forget": Place("worker.cli.handlers", "forget", "Remove what the database keeps of a deleted handler."),
    "doctor": Place("worker.cli.doctor", "doctor", "Check everything a worker depends on."),
    "failover": Place("worker.cli.failover", "failover", "What a failover has lost, and what to reconcile."),
    "rebase": Place("worker.cli.rebase", "rebase", "Make the cursors of a restored dump work here."),
}


class LazyGroup(click.Group):
    """A group whose commands are those above, and what handlers add with `@command`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*COMMANDS, *listed()]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return _of_handlers(cmd_name)
        command: click.Command = getattr(import_module(place.module), place.attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])
        if of_handlers := listed():
            with formatter.section("Commands of the handlers"):
                formatter.write_dl(list(of_handlers.items()))


def listed() -> dict[str, str]:
    """Names and descriptions of the handlers' commands, as listed by the packages in HEARKEN_HANDLERS.

    Imports none of them. A command that its package does not list works all the same.
    """
    import tomllib

    # As `settings` reads it, which is slow to import. Looking for a package inside another would import the outer one.
    names = [name.strip() for name in os.environ.get("HEARKEN_HANDLERS", "handlers").split(",")]
    specs = [find_spec(name) for name in names if name.isidentifier()]
    places = [Path(place, LISTING) for spec in specs if spec for place in spec.submodule_search_locations or ()]
    listings = [tomllib.loads(place.read_text("utf-8")) for place in places if place.is_file()]
    return {name: text for listing in listings for name, text in listing.items()}


def _of_handlers(name: str) -> click.Command | None:
    from worker.commands.session import load_handlers

    commands: list[click.Command] = load_handlers().commands
    return next((command for command in commands if command.name == name), None)
