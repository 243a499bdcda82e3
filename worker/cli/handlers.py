"""`hearken pause`, `resume` and `forget`: what an operator decides about one handler."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json
from worker.commands.session import check_known, confirm, connected, load_handlers, operator
from worker.deliver.brake import Seen
from worker.errors import UsageError
from worker.operate import handlers
from worker.operate.audit import Actor
from worker.operate.handlers import Kept


@click.command(short_help="Let a handler wait.")
@click.argument("handler")
@click.option("--reason", required=True, help="Why; `hearken status` shows it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pause(handler: str, reason: str, as_json: bool) -> None:
    """Let a handler wait, in every worker. What it is doing now ends first; its events wait in the log."""
    by = operator()
    asyncio.run(_pause(handler, Actor(by, reason)))
    if as_json:
        print_json({"handler": handler, "paused": True, "by": by, "reason": reason})
    else:
        click.echo(f"{handler} waits; let it go on with `hearken resume {handler}`", err=True)


@click.command(short_help="Let a paused handler go on.")
@click.argument("handler")
@click.option("--confirm", "confirmed", is_flag=True, help="Let pass what the brake has stopped.")
@click.option("--reason", help="Why; kept.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resume(handler: str, confirmed: bool, reason: str | None, as_json: bool) -> int:
    """Let a paused handler go on, within seconds. Exits with 1 when it was not paused.

    One that the brake has stopped goes on with --confirm only: it then does what it was stopped from doing, for the
    rows as they are by then. What came after that is judged anew.
    """
    was_paused, seen = asyncio.run(_resume(handler, Actor(operator(), reason), confirmed=confirmed))
    if as_json:
        confirmation = None if seen is None else asdict(seen)
        print_json({"handler": handler, "paused": False, "was_paused": was_paused, "confirmed": confirmation})
    elif seen is not None:
        click.echo(f"{handler} goes on, confirmed: {seen}", err=True)
    else:
        click.echo(f"{handler} goes on" if was_paused else f"{handler} was not paused", err=True)
    return 0 if was_paused else NEGATIVE


@click.command(short_help="Remove what the database keeps of a handler that is gone.")
@click.argument("handler")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forget(handler: str, yes: bool, as_json: bool) -> None:
    """Remove the cursors and the parked events of a handler that the code no longer has.

    Until then the log keeps what that handler has not seen. What it did outside stays in the ledger.
    """
    kept = asyncio.run(_forget(handler, yes=yes))
    if as_json:
        print_json({"handler": handler, "cursors": kept.cursors, "parked": kept.parked, "dead": kept.dead})
    else:
        click.echo(f"{handler} is forgotten; `hearken migrate` drops the triggers nobody needs any more", err=True)


async def _pause(handler: str, actor: Actor) -> None:
    registry = load_handlers()
    async with connected(registry, "pause") as connection:
        await check_known(connection, registry, handler)
        await handlers.pause(connection, handler, actor)


async def _resume(handler: str, actor: Actor, *, confirmed: bool) -> tuple[bool, Seen | None]:
    registry = load_handlers()
    async with connected(registry, "resume") as connection:
        await check_known(connection, registry, handler)
        if confirmed:
            return True, await handlers.confirm_brake(connection, handler, actor)
        return await handlers.resume(connection, handler, actor), None


async def _forget(handler: str, *, yes: bool) -> Kept:
    registry = load_handlers()
    async with connected(registry, "forget") as connection:
        if handler in registry.every_handler:
            raise UsageError(f"handler {handler} is still declared: take it out of the code first")
        kept = await handlers.count_kept(connection, handler)
        if not (kept.cursors or kept.parked):
            raise UsageError(f"no such handler in the database: {handler}")
        confirm(f"Forget {handler}, with its cursor and {kept.parked} parked events ({kept.dead} dead)?", yes=yes)
        await handlers.forget(connection, handler, Actor(operator()))
    return kept
