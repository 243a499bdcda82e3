"""The commands by name, each imported when it is asked for: `hearken --version` must not wait for a database driver."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click


@dataclass(frozen=True)
class Place:
    """Where a command is (module:attribute), and what it does, in one line."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "dev": Place("worker.dev.command", "dev", "Run everything on this machine, Postgres included."),
    "run": Place("worker.cli.run", "run", "Run a worker until SIGTERM."),
    "migrate": Place("worker.cli.migrate", "migrate", "Bring the database to what the code declares."),
    "status": Place("worker.cli.status", "status", "How far each handler has come, and who runs it."),
    "events": Place("worker.cli.events", "events", "List the log, or follow it."),
    "explain": Place("worker.cli.explain", "explain", "Everything about one key, and where it stands now."),
    "replay": Place("worker.cli.replay", "replay", "Append past events again, for their handlers."),
    "dead": Place("worker.cli.dead", "dead", "Events that a person must look at: list, show, retry, skip."),
    "runs": Place("worker.cli.runs", "runs", "What became of ticks and requests."),
    "job": Place("worker.cli.job", "job", "Ask an endpoint, or let a schedule be due."),
    "backfill": Place("worker.cli.backfill", "backfill", "Give handlers every existing row of a table."),
    "reconcile": Place(
        "worker.cli.reconcile", "reconcile_command", "Find and mend what differs between here and outside."
    ),
    "pause": Place("worker.cli.handlers", "pause", "Let a handler wait."),
    "resume": Place("worker.cli.handlers", "resume", "Let a paused handler go on."),
    "forget": Place("worker.cli.handlers", "forget", "Remove what the database keeps of a handler that is gone."),
    "rebase": Place("worker.cli.rebase", "rebase", "Make the cursors of a restored dump work here."),
}


class LazyGroup(click.Group):
    """A group whose commands are those above, and what handlers add with `@command`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return _of_handlers(cmd_name)
        command: click.Command = getattr(import_module(place.module), place.attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])


def _of_handlers(name: str) -> click.Command | None:
    from worker.cli.session import load_handlers

    commands: list[click.Command] = load_handlers().commands
    return next((command for command in commands if command.name == name), None)
