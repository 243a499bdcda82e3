"""`hearken pause`, `resume` and `forget`: what an operator decides about one handler."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from worker.commands.failures import NEGATIVE
from worker.commands.output import print_json
from worker.commands.session import check_known, confirm, connected, load_handlers, operator
from worker.deliver.stretch import Seen
from worker.errors import UsageError
from worker.operate import handlers
from worker.operate.audit import Actor
from worker.operate.handlers import Kept


@click.command(short_help="Pause a handler.")
@click.argument("handler")
@click.option("--reason", required=True, help="Reason; `hearken status` shows it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def pause(handler: str, reason: str, as_json: bool) -> None:
    """Pause a handler in every worker. Its running batch ends first; its events wait in the log."""
    by = operator()
    asyncio.run(_pause(handler, Actor(by, reason)))
    if as_json:
        print_json({"handler": handler, "paused": True, "by": by, "reason": reason})
    else:
        click.echo(f"{handler} is paused; resume it with `hearken resume {handler}`", err=True)


@click.command(short_help="Resume a paused handler.")
@click.argument("handler")
@click.option("--confirm", "confirmed", is_flag=True, help="Let through what the brake has stopped.")
@click.option("--reason", help="Reason to record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def resume(handler: str, confirmed: bool, reason: str | None, as_json: bool) -> int:
    """Resume a paused handler, within seconds. Exits with 1 when it was not paused.

    A handler that the brake has stopped resumes only with --confirm: it then does what it was stopped from doing, for
    the rows as they are by then. Later events are judged again.
    """
    was_paused, seen = asyncio.run(_resume(handler, Actor(operator(), reason), confirmed=confirmed))
    if as_json:
        confirmation = None if seen is None else asdict(seen)
        print_json({"handler": handler, "paused": False, "was_paused": was_paused, "confirmed": confirmation})
    elif seen is not None:
        click.echo(f"{handler} resumed, confirmed: {seen}", err=True)
    else:
        click.echo(f"{handler} resumed" if was_paused else f"{handler} was not paused", err=True)
    return 0 if was_paused else NEGATIVE


@click.command(short_help="Remove what the database keeps of a deleted handler.")
@click.argument("handler")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def forget(handler: str, yes: bool, as_json: bool) -> None:
    """Remove the cursors and the parked events of a handler that the code no longer has.

    Until then the log keeps what that handler has not seen. What it did outside stays in the ledger.
    """
    kept = asyncio.run(_forget(handler, yes=yes))
    if as_json:
        print_json({"handler": handler, "cursors": kept.cursors, "parked": kept.parked, "dead": kept.dead})
    else:
        click.echo(f"{handler} is forgotten; `hearken migrate` drops triggers that are no longer needed", err=True)


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
            raise UsageError(f"handler {handler} is still declared: remove it from the code first")
        kept = await handlers.count_kept(connection, handler)
        if not (kept.cursors or kept.parked):
            raise UsageError(f"no such handler in the database: {handler}")
        confirm(f"Forget {handler}, with its cursor and {kept.parked} parked events ({kept.dead} dead)?", yes=yes)
        await handlers.forget(connection, handler, Actor(operator()))
    return kept
