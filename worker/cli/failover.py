"""`hearken failover`: after a standby was promoted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import asdict

import click

from worker.commands.output import print_json, printable
from worker.commands.session import connected, load_handlers, operator
from worker.declare.registry import Registry
from worker.log.failover import Failover, open_failovers
from worker.operate.audit import Actor
from worker.operate.failover import settle_failovers


@click.command(short_help="What a failover has lost, and what to reconcile.")
@click.option("--settled", is_flag=True, help="Outside systems agree with the database again: say no more of it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def failover(settled: bool, as_json: bool) -> None:
    """List what workers have noticed of failovers: events that they had been given and that the database has lost.

    A standby that lags is promoted without its primary's last commits. What handlers did outside about those is still
    there, so that source and destination disagree: reconcile them, then run this with --settled.
    """
    registry = load_handlers()
    noticed = asyncio.run(_noticed(registry, settled=settled))
    if as_json:
        print_json([asdict(one) for one in noticed])
        return
    for one in noticed:
        for line in _lines(registry, one):
            click.echo(line)
    if not noticed:
        click.echo("no failover is open", err=True)
    elif settled:
        click.echo("settled", err=True)


async def _noticed(registry: Registry, *, settled: bool) -> list[Failover]:
    async with connected(registry, "failover") as connection:
        if settled:
            return await settle_failovers(connection, Actor(operator()))
        return await open_failovers(connection)


def _lines(registry: Registry, one: Failover) -> Iterator[str]:
    yield str(one)
    if one.handler is None:
        yield "  reconcile every system that is written to outside, then run `hearken failover --settled`"
        return
    yield "  of the keys " + ", ".join(printable("(none)" if key is None else key) for key in one.keys)
    for name in sorted(r.name for r in registry.reconcilers.values() if r.handler == one.handler):
        yield f"  run `hearken reconcile {name} --apply`"
    yield "  compare these keys at the destination, then run `hearken failover --settled`"
