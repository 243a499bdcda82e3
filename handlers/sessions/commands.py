"""`hearken purchases` and `hearken invoice`: what a person asks about purchases, and the code that is scanned."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from handlers.sessions import report as ask
from handlers.sessions.code import draw, kind_of
from worker import UsageError, command
from worker.commands import NEGATIVE, connected, load_handlers, moment, print_json, print_table

SHOWN = {
    "purchase": "purchase_id",
    "paid": "payment_status",
    "says": "purchase_session_status",
    "session": "session_id",
    "is": "session_status",
    "sync": "sync_status",
}
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command
@click.group(short_help="Purchases and their sessions.")
def purchases() -> None:
    """Purchases and their sessions: whether they agree, how to fix them, and what was sold."""


@purchases.command(short_help="List the newest purchases and their sessions.")
@click.option("--mismatch", is_flag=True, help="Only those that disagree with their session.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many.")
@json_option
def overview(mismatch: bool, limit: int, as_json: bool) -> int:
    """List the newest purchases and their sessions.

    \b
    SYNCED      both say the same
    SYNCING     the session's last change is on its way
    NO_SESSION  the invoice has not been scanned
    MISMATCH    they disagree: `hearken purchases sync` fixes it

    With --mismatch, exits with 1 when there are any.
    """
    found = asyncio.run(_overview(mismatch=mismatch, limit=limit))
    if as_json:
        print_json(found)
    elif found:
        print_table(list(SHOWN), [[row[column] for column in SHOWN.values()] for row in found])
    else:
        click.echo("no purchase disagrees with its session" if mismatch else "no purchases", err=True)
    return NEGATIVE if mismatch and found else 0


@purchases.command(short_help="Fix every mismatch.")
@json_option
def sync(as_json: bool) -> None:
    """Give every purchase the status of its session, where it has another."""
    mended = asyncio.run(_sync())
    if as_json:
        print_json({"mended": mended})
    else:
        click.echo(f"{mended} fixed", err=True)


@purchases.command(short_help="What was sold, day by day.")
@click.option("--since", type=moment, default="7d", show_default=True, help="Since when: 7d, or a date.")
@json_option
def report(since: datetime, as_json: bool) -> None:
    """What was sold, day by day (UTC): paid purchases, how many are active or completed, revenue in minor units."""
    days = asyncio.run(_report(since))
    if as_json:
        print_json([day.model_dump() for day in days])
    elif days:
        rows = [(day.day, day.purchases, day.active, day.completed, _revenue(day)) for day in days]
        print_table(("day", "purchases", "active", "completed", "revenue"), rows)
    else:
        click.echo(f"nothing was sold since {since:%Y-%m-%d %H:%M} UTC", err=True)


@command
@click.group(short_help="The QR code of an invoice.")
def invoice() -> None:
    """The code of one invoice, which is scanned to start its session."""


@invoice.command(short_help="Draw the QR code of an invoice into a file.")
@click.argument("invoice_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--out", "file", type=click.Path(path_type=Path), required=True, help="Ends in .png or .svg.")
@json_option
def qr(invoice_id: int, file: Path, as_json: bool) -> None:
    """Draw the QR code of an invoice into a file."""
    kind_of(file)
    draw(asyncio.run(_qr_content(invoice_id)), file)
    if as_json:
        print_json({"invoice": invoice_id, "file": str(file)})
    else:
        click.echo(f"invoice {invoice_id}: {file}", err=True)


async def _overview(*, mismatch: bool, limit: int) -> list[dict[str, Any]]:
    async with connected(load_handlers(), "purchases overview") as connection:
        return await ask.read_overview(connection, mismatch=mismatch, limit=limit)


async def _sync() -> int:
    async with connected(load_handlers(), "purchases sync", patient=True) as connection:
        return await ask.sync(connection)


async def _report(since: datetime) -> list[ask.Day]:
    async with connected(load_handlers(), "purchases report") as connection:
        return await ask.read_report(connection, since)


async def _qr_content(invoice_id: int) -> str:
    async with connected(load_handlers(), "invoice qr") as connection:
        content = await ask.read_qr_content(connection, invoice_id)
    if content is None:
        raise UsageError(f"no such invoice: {invoice_id}")
    return content


def _revenue(day: ask.Day) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in day.revenue.items())
