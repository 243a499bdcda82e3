"""One profile's packages: from the CRM to the local copy. The handlers, the bulk sync and the command all do this.

    profile → mapping → packages of the customer → one statement that writes them all

Level-triggered and idempotent. The copy is made in one statement, from a list that is known to be whole: what the
list lacks is marked as removed, never deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from psycopg.types.json import Jsonb

from handlers.packages.client import Crm
from handlers.packages.customers import is_customer, packages_of
from handlers.packages.errors import Refused
from handlers.packages.mapping import Connections, Mapping, get_or_create_mapping
from schema.packages.row import Package

# Taken before the CRM is asked: of two syncs, the one that asked later knows better.
_BEFORE: LiteralString = """
select clock_timestamp() as at,
       exists (select from public.packages where crm_customer_id = %s and removed_at is null) as has_packages
"""
_COPY: LiteralString = """
with found as (
    select * from jsonb_to_recordset(%(packages)s::jsonb) as f (
        id text, package_name text, total_hours numeric, used_hours numeric, remaining_hours numeric,
        purchase_date date, first_use_date date, expiration_date date, updated_at timestamptz)
), written as (
    insert into public.packages as p (
        crm_package_id, crm_customer_id, package_name, total_hours, used_hours, remaining_hours,
        purchase_date, first_use_date, expiration_date, source_updated_at, seen_at)
    select id, %(customer)s, package_name, total_hours, used_hours, remaining_hours,
           purchase_date, first_use_date, expiration_date, updated_at, %(at)s
    from found order by id
    on conflict (crm_package_id) do update set
        crm_customer_id = excluded.crm_customer_id, package_name = excluded.package_name,
        total_hours = excluded.total_hours, used_hours = excluded.used_hours,
        remaining_hours = excluded.remaining_hours, purchase_date = excluded.purchase_date,
        first_use_date = excluded.first_use_date, expiration_date = excluded.expiration_date,
        source_updated_at = excluded.source_updated_at, seen_at = greatest(p.seen_at, excluded.seen_at),
        removed_at = null
    where excluded.source_updated_at >= p.source_updated_at
      and (excluded.seen_at >= p.seen_at
           or (p.removed_at is null and excluded.source_updated_at > p.source_updated_at))
), removed as (
    update public.packages p set removed_at = %(at)s, seen_at = %(at)s
    where p.crm_customer_id = %(customer)s and p.removed_at is null and p.seen_at <= %(at)s
      and not exists (select from found where found.id = p.crm_package_id)
    returning 1
), stamped as (
    update public.crm_customer_mapping set synced_at = clock_timestamp() where profile_id = %(profile)s
)
select (select count(*) from removed) as removed
"""


@dataclass(frozen=True)
class Synced:
    """The result of syncing one profile. Without a customer there was nothing to copy.

    packages, removed  how many the CRM has, and how many it no longer has since the last time
    """

    mapping: Mapping
    packages: int = 0
    removed: int = 0


async def sync_packages(crm: Crm, database: Connections, profile_id: str) -> Synced | None:
    """Find the profile's customer and copy its packages; None when there is no such profile.

    Raises the outcomes of `errors`, with nothing of this profile's packages changed.
    """
    mapping = await get_or_create_mapping(crm, database, profile_id)
    if mapping is None or mapping.customer_id is None:
        return None if mapping is None else Synced(mapping)
    async with database.connection() as connection:
        before = await (await connection.execute(_BEFORE, (mapping.customer_id,))).fetchone()
    assert before is not None  # noqa: S101  # a select without a table has one row
    packages = await packages_of(crm, mapping.customer_id)
    if before["has_packages"] and not packages:
        await _check_customer(crm, mapping.customer_id)
    removed = await _copy(database, profile_id, mapping.customer_id, packages, before["at"])
    return Synced(mapping, len(packages), removed)


async def _check_customer(crm: Crm, customer_id: str) -> None:
    """All packages gone at once: it looks the same when a policy hides the rows, or two customers were merged."""
    if not await is_customer(crm, customer_id):
        raise Refused(
            f"the CRM no longer shows customer {customer_id}, so its packages are left as they are: check the "
            "policies for CRM_SUPABASE_KEY; if it was merged or deleted, correct crm_customer_mapping"
        )
    if not await crm.shows_any("packages"):
        raise Refused(
            "the CRM shows no packages of anybody, so those that are known are left as they are: check the policies "
            "for CRM_SUPABASE_KEY; if there really are none, set removed_at in public.packages"
        )


async def _copy(
    database: Connections, profile_id: str, customer_id: str, packages: Sequence[Package], at: datetime
) -> int:
    rows = Jsonb([package.model_dump(mode="json", exclude={"customer_id"}) for package in packages])
    values = {"packages": rows, "customer": customer_id, "profile": profile_id, "at": at}
    async with database.connection() as connection:
        counted = await (await connection.execute(_COPY, values)).fetchone()
    assert counted is not None  # noqa: S101  # a select without a table has one row
    removed: int = counted["removed"]
    return removed
