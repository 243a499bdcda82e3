"""`hearken migrate`: update the database to what the code declares, or say what is missing."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json
from worker.commands.session import connected, load_handlers
from worker.install import migrate as migrating
from worker.install.migrate import Pending
from worker.log.partitions import missing_partitions


@click.command(short_help="Update the database to what the code declares.")
@click.option("--check", is_flag=True, help="Change nothing; list what is pending, and exit with 1 if anything is.")
@click.option("--sql", "as_sql", is_flag=True, help="Change nothing; print the SQL that would run.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def migrate(check: bool, as_sql: bool, as_json: bool) -> int:
    """Apply the SQL files of schema/, then create the handlers' cursors, then the triggers of the tables they watch.

    Safe to run again, and from several processes at once.
    """
    if as_sql and (check or as_json):
        raise click.UsageError("--sql cannot be combined with other options")
    if as_sql:
        click.echo(asyncio.run(_script()), nl=False)
        return 0
    pending = asyncio.run(_run(check=check))
    if as_json:
        print_json({"done": not check, **_facts(pending)})
    else:
        _say(pending, check=check)
    return NEGATIVE if check and pending else 0


async def _run(*, check: bool) -> Pending:
    registry = load_handlers()
    async with connected(registry, "migrate", patient=True) as connection:
        if check:
            return await migrating.find_pending(connection, registry)
        return await migrating.migrate(connection, registry)


async def _script() -> str:
    registry = load_handlers()
    async with connected(registry, "migrate") as connection:
        pending = await migrating.find_pending(connection, registry)
        if not pending.migrations:
            pending.partitions = await missing_partitions(connection)
        return pending.script()


def _facts(pending: Pending) -> dict[str, Any]:
    return {
        "migrations": [str(m) for m in pending.migrations],
        "handlers": [{"handler": e.handler.name, "action": e.action, "text": e.text} for e in pending.enrolments],
        "triggers": [{"topic": t.topic, "name": t.name, "state": t.state} for t in pending.triggers],
        "partitions": [p.name for p in pending.partitions],
    }


def _say(pending: Pending, *, check: bool) -> None:
    for line in pending.lines():
        click.echo(line)
    if not pending:
        click.echo("up to date")
    elif check:
        click.echo("pending: run `hearken migrate`", err=True)
    else:
        click.echo("done", err=True)
