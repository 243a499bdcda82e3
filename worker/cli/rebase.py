"""`hearken rebase`: after a dump was restored."""

from __future__ import annotations

import asyncio

import click

from worker.commands.output import print_json
from worker.commands.session import confirm, connected, load_handlers, operator
from worker.operate.audit import Actor
from worker.operate.rebase import Rebased, foreign_cursors
from worker.operate.rebase import rebase as take_over


@click.command(short_help="Make the cursors of a restored dump work here.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rebase(yes: bool, as_json: bool) -> None:
    """Take over cursors that were written in another database, after its dump was restored here.

    Events that a handler had not received there are appended again for it; none is lost. Writers of watched tables
    wait while this runs. Until then workers refuse these cursors, because two copies of one database would both write
    to the same outside systems.
    """
    rebased = asyncio.run(_rebase(yes=yes))
    if as_json:
        cursors = [{"handler": handler, "shard": shard} for handler, shard in rebased.cursors]
        print_json({"cursors": cursors, "appended": rebased.appended})
        return
    for handler, count in rebased.appended.items():
        click.echo(f"{handler}: taken over, {count} undelivered events appended again")


async def _rebase(*, yes: bool) -> Rebased:
    registry = load_handlers()
    async with connected(registry, "rebase", patient=True) as connection:
        if foreign := await foreign_cursors(connection):
            handlers = ", ".join(sorted({handler for handler, _ in foreign}))
            confirm(
                f"The cursors of {handlers} are from another database. Workers will deliver from this one: is the other"
                " one no longer in use, or do both lead to different outside systems?",
                yes=yes,
            )
        return await take_over(connection, Actor(operator()))
