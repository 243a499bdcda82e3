"""From a profile to its customer in the CRM: the stored mapping, or `matching`, whose outcome is stored.

A mapping that is there is used as it is. An attempt that found nobody, or several, is stored too, so that a person sees
why, and is repeated the next time.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, LiteralString, Protocol

from psycopg import errors
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from handlers.packages.client import Crm
from handlers.packages.customers import customers_by_email, customers_by_phone
from handlers.packages.matching import Match, choose, compare
from schema.packages.row import Profile
from worker import Connection

_READ: LiteralString = """
select p.id::text as id, p.name, p.email, p.phone_number,
       m.crm_customer_id, m.match_method, m.match_confidence::float8 as match_confidence
from public.profiles p left join public.crm_customer_mapping m on m.profile_id = p.id
where p.id = %s
"""
_KEEP: LiteralString = """
insert into public.crm_customer_mapping as m
    (profile_id, crm_customer_id, match_method, match_confidence, candidates, attempted_at, matched_at)
select p.id, %(customer)s::text, %(method)s::text, %(confidence)s::numeric, %(candidates)s::jsonb, now(),
       case when %(customer)s::text is not null then now() end
from public.profiles p where p.id = %(profile)s
on conflict (profile_id) do update set
    crm_customer_id = excluded.crm_customer_id, match_method = excluded.match_method,
    match_confidence = excluded.match_confidence, candidates = excluded.candidates,
    attempted_at = excluded.attempted_at, matched_at = excluded.matched_at
where m.crm_customer_id is null
"""


class Connections(Protocol):
    """Where a connection comes from: a handler's context, or the engine's database."""

    def connection(self) -> AbstractAsyncContextManager[Connection]: ...


@dataclass(frozen=True)
class Mapping:
    """The customer of a profile, or None; `match` is how it was found just now, None for a stored mapping."""

    customer_id: str | None
    method: str | None
    confidence: float | None
    match: Match | None = None

    @property
    def reason(self) -> str:
        """Why there is no customer, for a person."""
        if self.match is not None and self.match.ambiguous:
            return "several customers of the CRM might be this profile"
        return "no customer of the CRM fits this profile"


async def get_or_create_mapping(crm: Crm, database: Connections, profile_id: str) -> Mapping | None:
    """The profile's mapping; None when there is no such profile. Raises the outcomes of `errors`."""
    row = await _read(database, profile_id)
    if row is None or row["crm_customer_id"] is not None:
        return None if row is None else _stored(row)
    match = await find_customer(crm, Profile.model_validate(row))
    await _keep(database, profile_id, match)
    # Somebody else, perhaps a person, may have stored another one meanwhile: theirs counts.
    row = await _read(database, profile_id)
    if row is None or row["crm_customer_id"] not in (None, match.customer_id):
        return None if row is None else _stored(row)
    return Mapping(match.customer_id, match.method, match.confidence, match)


async def find_customer(crm: Crm, profile: Profile) -> Match:
    """Ask the CRM who the profile is, whatever is stored. Nothing is written."""
    region = crm.settings.region
    candidates = compare(profile, await customers_by_email(crm, profile.email), region)
    if not candidates:
        candidates = compare(profile, await customers_by_phone(crm, profile.phone_number), region)
    return choose(candidates)


async def read_mapping(database: Connections, profile_id: str) -> Mapping | None:
    """The mapping as it is stored, perhaps without a customer; None when there is no such profile."""
    row = await _read(database, profile_id)
    return None if row is None else _stored(row)


async def read_profile(database: Connections, profile_id: str) -> Profile | None:
    """The profile; None when there is none of that id."""
    row = await _read(database, profile_id)
    return None if row is None else Profile.model_validate(row)


async def _read(database: Connections, profile_id: str) -> DictRow | None:
    try:
        async with database.connection() as connection:
            return await (await connection.execute(_READ, (profile_id,))).fetchone()
    except (errors.InvalidTextRepresentation, errors.NumericValueOutOfRange):
        return None  # not even of the key's type


async def _keep(database: Connections, profile_id: str, match: Match) -> None:
    values: dict[str, Any] = {
        "profile": profile_id,
        "customer": match.customer_id,
        "method": match.method,
        "confidence": match.confidence,
        "candidates": Jsonb([{"customer": c.customer.id, "agrees": c.agrees} for c in match.candidates]),
    }
    async with database.connection() as connection:
        await connection.execute(_KEEP, values)


def _stored(row: DictRow) -> Mapping:
    return Mapping(row["crm_customer_id"], row["match_method"], row["match_confidence"])
