"""The package sync by request and by schedule: `/api/crm/sync-packages`, `/api/vip/packages`, and every night.

A bulk sync may take long: it is retried and resumes where it was, in any worker, as any event does.
"""

from __future__ import annotations

from datetime import date
from typing import LiteralString

from psycopg import errors
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from handlers.packages.bulk import BulkProgress, bulk_sync
from handlers.packages.link import linked
from handlers.packages.logins import TIMEOUT
from handlers.packages.result import SyncAnswer, SyncOptions, UnderWay
from handlers.packages.runs import last_answer
from handlers.packages.sync import sync_packages
from worker import Change, Context, Database, RequestRefused, Skip, Snooze, endpoint, every

# Seconds. A hundred thousand profiles take an hour; a run that is cut off is resumed.
_BULK_TIMEOUT = 4 * 3600.0
# Seconds until a tick looks again whether the bulk sync of somebody else is over.
_LOOK_AGAIN = 30.0

_PACKAGES: LiteralString = """
select k.crm_package_id, k.package_name, k.total_hours::float8, k.used_hours::float8, k.remaining_hours::float8,
       k.purchase_date, k.first_use_date, k.expiration_date
from public.profiles p
left join public.crm_customer_mapping m on m.profile_id = p.id
left join public.packages k on k.crm_customer_id = m.crm_customer_id and k.removed_at is null
where p.id = %s order by k.expiration_date, k.crm_package_id
"""


class _Nothing(BaseModel):
    """A GET without parameters."""

    model_config = ConfigDict(extra="forbid")


class OfProfile(BaseModel):
    """Whose packages."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")

    # Postgres has no text with a NUL in it.
    profile_id: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]*$")


class CopiedPackage(BaseModel):
    """A package of the local copy. Hours are numbers."""

    crm_package_id: str
    package_name: str
    total_hours: float | None
    used_hours: float | None
    remaining_hours: float | None
    purchase_date: date | None
    first_use_date: date | None
    expiration_date: date | None


class PackagesAnswer(OfProfile):
    """A profile's packages: those that the CRM had at the last sync."""

    packages: list[CopiedPackage]


class ProfileAnswer(OfProfile):
    """The result of an individual sync; `packages` and `removed` are counts."""

    packages: int
    removed: int


async def last_bulk_sync(_: _Nothing, database: Database) -> SyncAnswer | None:
    """The result of the last bulk sync that came to its end; null before the first."""
    return await last_answer(database)


async def copied_packages(query: OfProfile, database: Database) -> PackagesAnswer:
    """The packages of a profile, from the local copy."""
    try:
        async with database.connection() as connection:
            rows = await (await connection.execute(_PACKAGES, (query.profile_id,))).fetchall()
    except (errors.InvalidTextRepresentation, errors.NumericValueOutOfRange):
        rows = []  # not even of the key's type
    if not rows:
        raise RequestRefused(404, "there is no profile of this id")
    packages = [CopiedPackage.model_validate(row) for row in rows if row["crm_package_id"] is not None]
    return PackagesAnswer(profile_id=query.profile_id, packages=packages)


@endpoint(
    "sync-packages",
    path="/api/crm/sync-packages",
    body=SyncOptions,
    read=last_bulk_sync,
    alone=True,
    concurrency=1,
    timeout=_BULK_TIMEOUT,
)
async def sync_all_packages(change: Change, ctx: Context) -> SyncAnswer:
    """Sync the packages of all profiles that have a customer in the CRM."""
    answer = await _bulk(SyncOptions.model_validate(change.new), change, ctx)
    if isinstance(answer, UnderWay):
        raise Skip(str(answer))
    return answer


@every("0 2 * * *", name="daily-package-sync", timeout=_BULK_TIMEOUT)
async def daily_package_sync(change: Change, ctx: Context) -> SyncAnswer:
    """The bulk sync of every night; it waits for one in progress, which may be of a few profiles only."""
    answer = await _bulk(SyncOptions(), change, ctx)
    if isinstance(answer, UnderWay):
        raise Snooze(_LOOK_AGAIN, str(answer))
    return answer


@endpoint("vip-packages", path="/api/vip/packages", body=OfProfile, read=copied_packages, timeout=TIMEOUT)
async def sync_requested_profile(change: Change, ctx: Context) -> ProfileAnswer:
    """Sync the packages of one profile."""
    profile_id = OfProfile.model_validate(change.new).profile_id
    synced = await sync_packages(linked(ctx).crm, ctx, profile_id)
    if synced is None:
        raise Skip("there is no profile of this id")
    if synced.mapping.customer_id is None:
        raise Skip(synced.mapping.reason)
    return ProfileAnswer(profile_id=profile_id, packages=synced.packages, removed=synced.removed)


async def _bulk(options: SyncOptions, change: Change, ctx: Context) -> SyncAnswer | UnderWay:
    link = linked(ctx)

    async def tell(progress: BulkProgress) -> None:
        text = f"{progress.failed} failed" if progress.failed else None
        await ctx.progress(change, progress.done, progress.profiles, text)

    return await bulk_sync(link.crm, link.database, options, progress=tell)
