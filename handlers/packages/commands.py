"""`hearken packages …`: sync by hand, see which customer a profile is and why, the SQL for Supabase's own cron.

The outermost layer of the package sync. Needs no worker; where the CRM is asked, its settings are needed here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from handlers.packages.bulk import BulkProgress, bulk_sync
from handlers.packages.cron_sql import cron_sql
from handlers.packages.errors import CrmOutcome
from handlers.packages.link import Link, crm
from handlers.packages.mapping import Mapping, find_customer, read_mapping, read_profile
from handlers.packages.matching import Match
from handlers.packages.result import SyncOptions, UnderWay
from handlers.packages.settings import OFF, CrmSettings
from handlers.packages.sync import sync_packages
from worker import ConfigurationError, Database, UsageError, command
from worker.commands import NEGATIVE, load_handlers, open_database, print_json, print_table, progress
from worker.settings import Settings, read_settings

T = TypeVar("T")


@click.group(short_help="The copy of the CRM's packages.")
def packages() -> None:
    """The copy of the CRM's packages, and whose they are."""


command(packages)


@packages.command(short_help="Sync one profile, or all.")
@click.option("--profile", metavar="ID", help="Sync this profile.")
@click.option("--all", "everybody", is_flag=True, help="Sync every profile that has a customer in the CRM.")
@click.option("--batch-size", type=click.IntRange(1, 1000), default=20, show_default=True, help="Between two pauses.")
@click.option("--max", "most", type=click.IntRange(min=1), help="At most this many profiles.")
@click.option("--only-new", is_flag=True, help="Only profiles that were never synced.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def sync(profile: str | None, everybody: bool, batch_size: int, most: int | None, only_new: bool, as_json: bool) -> int:
    """Bring the packages of one --profile, or of --all, from the CRM.

    Exit code 1 when one failed. After Ctrl-C, the same command resumes where it stopped.
    """
    if (profile is not None) == everybody:
        raise UsageError("say whose packages: either --profile ID or --all")
    if profile is not None:
        return _sync_one(profile, as_json=as_json)
    options = SyncOptions(batch_size=batch_size, max_profiles=most, only_new_profiles=only_new)
    return _sync_all(options, as_json=as_json)


@packages.command(short_help="Which customer a profile is, and why.")
@click.argument("profile")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def match(profile: str, as_json: bool) -> int:
    """Which customer of the CRM the PROFILE is: as stored, and as the CRM says now, with the fields that agree.

    Writes nothing. Exit code 1 when there is no customer.
    """
    stored, found = _asking("packages match", lambda link: _match(link, profile))
    if as_json:
        print_json(_match_document(profile, stored, found))
    else:
        _tell_match(stored, found)
    return 0 if stored.customer_id or found.customer_id else NEGATIVE


@packages.command("cron-sql", short_help="SQL for Supabase's pg_cron.")
@click.option("--url", required=True, help="Address of the worker's HTTP server, such as https://worker.example.com.")
@click.option("--schedule", default="0 2 * * *", show_default=True, help="Five fields, in UTC.")
def print_cron_sql(url: str, schedule: str) -> None:
    """Print SQL that makes Supabase's pg_cron request the daily sync. It reads the secret from Supabase's Vault."""
    click.echo(cron_sql(url, schedule))


def _sync_one(profile: str, *, as_json: bool) -> int:
    synced = _asking("packages sync", lambda link: sync_packages(link.crm, link.database, profile))
    if synced is None:
        raise UsageError(f"no such profile: {profile}")
    customer = synced.mapping.customer_id
    if as_json:
        print_json({"profile": profile, "customer": customer, "packages": synced.packages, "removed": synced.removed})
    elif customer is None:
        click.echo(f"{profile}: {synced.mapping.reason}; see `hearken packages match {profile}`", err=True)
    else:
        click.echo(f"{profile} is customer {customer}: {synced.packages} packages, {synced.removed} newly removed")
    return NEGATIVE if customer is None else 0


def _sync_all(options: SyncOptions, *, as_json: bool) -> int:
    with progress("packages") as draw:

        async def tell(now: BulkProgress) -> None:
            draw(now.done, now.profiles, f"{now.failed} failed" if now.failed else None)

        answer = _asking("packages sync", lambda link: bulk_sync(link.crm, link.database, options, progress=tell))
    if isinstance(answer, UnderWay):
        raise click.ClickException(str(answer))
    result = answer.result
    if as_json:
        print_json(answer.model_dump(by_alias=True))
    else:
        for error in result.errors:
            click.echo(error, err=True)
        click.echo(
            f"{result.successful_profiles} of {result.total_profiles} profiles synced in {result.duration}, "
            f"{result.total_packages} packages"
        )
    return NEGATIVE if result.failed_profiles else 0


async def _match(link: Link, profile_id: str) -> tuple[Mapping, Match]:
    profile, stored = await read_profile(link.database, profile_id), await read_mapping(link.database, profile_id)
    if profile is None or stored is None:
        raise UsageError(f"no such profile: {profile_id}")
    return stored, await find_customer(link.crm, profile)


def _match_document(profile: str, stored: Mapping, found: Match) -> dict[str, Any]:
    return {
        "profile": profile,
        "stored": stored.customer_id and _said(stored),
        "found": found.customer_id and _said(found),
        "ambiguous": found.ambiguous,
        "candidates": [{"customer": c.customer.id, "agrees": list(c.agrees)} for c in found.candidates],
    }


def _said(one: Mapping | Match) -> dict[str, Any]:
    return {"customer": one.customer_id, "method": one.method, "confidence": one.confidence}


def _tell_match(stored: Mapping, found: Match) -> None:
    rows = [("stored", stored.customer_id, stored.method, stored.confidence)]
    rows += [("found now", found.customer_id, found.method, found.confidence)]
    print_table(("", "customer", "by", "confidence"), rows)
    if found.candidates:
        click.echo()
        print_table(("candidate", "agrees in"), [(c.customer.id, ", ".join(c.agrees)) for c in found.candidates])
    if found.ambiguous:
        click.echo("several might be this profile, so none is chosen: fix the CRM, or store one by hand", err=True)


def _asking(purpose: str, work: Callable[[Link], Awaitable[T]]) -> T:
    """What `work` gives, with a link of its own. Raises ConfigurationError, ClickException for a failure of the CRM."""
    declared = load_handlers()
    known = [resource.settings for resource in declared.resources]
    settings = read_settings([Settings, CrmSettings], known=known)[CrmSettings]
    if settings.url is None:
        raise ConfigurationError(f"{OFF}: set both")
    try:
        return asyncio.run(_ask(open_database(declared, purpose), settings, work))
    except CrmOutcome as outcome:
        raise click.ClickException(outcome.reason) from None


async def _ask(database: Database, settings: CrmSettings, work: Callable[[Link], Awaitable[T]]) -> T:
    # Outside the pool, which would retry for long if there is no database.
    await (await database.connect()).close()
    await database.open()
    try:
        async with asynccontextmanager(crm)(settings, database) as link:
            return await work(link)
    finally:
        await database.close()
