"""What a login or a booking brings about: the individual sync, by events of public.profiles and public.bookings."""

from __future__ import annotations

from handlers.packages.link import linked
from handlers.packages.sync import sync_packages
from worker import Change, Context, Skip, on

# Seconds: three questions to the CRM, each with all its tries.
TIMEOUT = 100.0


@on(
    "public.profiles",
    watch=("last_login_at",),
    exclude=("name", "email", "phone_number"),
    ops=("insert", "update"),
    fold=True,
    timeout=TIMEOUT,
)
async def sync_profile(change: Change, ctx: Context) -> None:
    """Sync the packages of a profile that has logged in."""
    if change.op == "insert" and (change.new or {}).get("last_login_at") is None:
        raise Skip("a new profile that has not logged in yet")
    if change.key is not None:
        await _sync(change.key, ctx)


@on("public.bookings", ops=("insert",), fold=True, timeout=TIMEOUT)
async def sync_booking(change: Change, ctx: Context) -> None:
    """Sync the packages of the profile that has booked."""
    booking = await ctx.row(change)
    if booking is None or booking["profile_id"] is None:
        raise Skip("the booking has no profile, or is gone")
    await _sync(str(booking["profile_id"]), ctx)


async def _sync(profile_id: str, ctx: Context) -> None:
    synced = await sync_packages(linked(ctx).crm, ctx, profile_id)
    if synced is None:
        raise Skip("the profile is gone")
    if synced.mapping.customer_id is None:
        raise Skip(synced.mapping.reason)
    ctx.log.info("synced", packages=synced.packages, removed=synced.removed)
