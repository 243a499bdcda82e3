"""The CRM → public.packages: who logs in or books has the packages that the CRM has for them.

    profiles.last_login_at changes ─┐
    a booking is inserted          ─┼→ sync_packages: mapping → CRM → local copy
    bulk sync, command             ─┘

Level-triggered: an event only says whose packages to look after. The login or booking is committed before any of this
begins, so nothing that the CRM does can harm it. Without the CRM's settings all of it is off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog

from handlers.packages.client import Crm
from handlers.packages.errors import CrmOutcome
from handlers.packages.settings import OFF, CrmSettings
from handlers.packages.sync import sync_packages
from worker import Change, CheckFailed, Context, Skip, on, readiness, resource
from worker.database import Database

__all__ = ["Crm", "CrmSettings", "crm", "sync_booking", "sync_profile"]

# Seconds: three questions to the CRM, each with all its tries.
_TIMEOUT = 100.0


@resource
async def crm(settings: CrmSettings, _: Database) -> AsyncIterator[Crm | None]:
    """The process's client of the CRM; None when there is none, and the package sync is off."""
    if settings.url is None:
        structlog.get_logger("packages").info(OFF)
        yield None
        return
    client = Crm(settings)
    try:
        yield client
    finally:
        await client.close()


@readiness("crm", crm)
async def crm_answers(client: Crm | None) -> str:
    """Ready when the CRM answers this key, or when there is none."""
    if client is None:
        return OFF
    try:
        await client.ping()
    except CrmOutcome as error:
        raise CheckFailed(error.reason) from None
    return f"answers at {client.settings.url}"


@on(
    "public.profiles",
    watch=("last_login_at",),
    exclude=("name", "email", "phone_number"),
    ops=("insert", "update"),
    fold=True,
    timeout=_TIMEOUT,
)
async def sync_profile(change: Change, ctx: Context) -> None:
    """Sync the packages of a profile that has logged in."""
    if change.key is not None:
        await _sync(change.key, ctx)


@on("public.bookings", ops=("insert",), fold=True, timeout=_TIMEOUT)
async def sync_booking(change: Change, ctx: Context) -> None:
    """Sync the packages of the profile that has booked."""
    booking = await ctx.row(change)
    if booking is None or booking["profile_id"] is None:
        raise Skip("the booking is nobody's, or gone")
    await _sync(str(booking["profile_id"]), ctx)


async def _sync(profile_id: str, ctx: Context) -> None:
    client = ctx.use(crm)
    if client is None:
        raise Skip(OFF)
    synced = await sync_packages(client, ctx, profile_id)
    if synced is None:
        raise Skip("the profile is gone")
    if synced.mapping.customer_id is None:
        several = synced.mapping.match is not None and synced.mapping.match.ambiguous
        raise Skip("several customers of the CRM might be this profile" if several else "no customer of the CRM fits")
    ctx.log.info("synced", packages=synced.packages, removed=synced.removed)
