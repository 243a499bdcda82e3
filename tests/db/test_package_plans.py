"""Promise: what the package sync asks of the database costs by what it gets, however many profiles there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from handlers.packages import bulk, mapping, requests, sync
from tests.support.packages import migrate_packages
from tests.support.plans import Cost, measure, prepare
from tests.support.shop import open_database

PROFILES = 50_000
FILL: LiteralString = f"""
insert into public.profiles (id, email)
select ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, i || '@x.com'
from generate_series(1, {PROFILES}) i;
insert into public.crm_customer_mapping (profile_id, crm_customer_id, match_method, synced_at)
select id, row_number() over (order by id), 'email', now() from public.profiles;
insert into public.packages (crm_package_id, crm_customer_id, package_name, source_updated_at, seen_at)
select i * 10 + j, i, 'Gold', '2024-01-01', '2024-01-01' from generate_series(1, {PROFILES}) i, generate_series(1, 3) j
"""
PROFILE, CUSTOMER = f"00000000-0000-0000-0000-{PROFILES // 2:012}", str(PROFILES // 2)
ROW = {
    **dict.fromkeys(("total_hours", "used_hours", "remaining_hours")),
    **dict.fromkeys(("purchase_date", "first_use_date", "expiration_date")),
    "package_name": "Gold",
    "updated_at": "2024-02-01T00:00:00Z",
}
COPIED = {
    "packages": Jsonb([{**ROW, "id": f"{CUSTOMER}{number}"} for number in (1, 2, 9)]),
    "customer": CUSTOMER,
    "profile": PROFILE,
    "at": datetime(2024, 2, 1, tzinfo=UTC),
}
BATCH = {"only_new": False, "most": 20, "position": PROFILE}
KEPT = {"profile": PROFILE, "customer": None, "method": "email", "confidence": None, "candidates": Jsonb([])}
CASES: dict[str, tuple[LiteralString, Any, int]] = {
    "a profile and its mapping": (mapping._READ, (PROFILE,), 20),
    "keep a mapping": (mapping._KEEP, KEPT, 60),
    "before the CRM is asked": (sync._BEFORE, (CUSTOMER,), 20),
    "copy": (sync._COPY, COPIED, 150),
    "the first batch": (bulk._FIRST, {**BATCH, "position": None}, 20),
    "the next batch": (bulk._NEXT, BATCH, 20),
    "a profile's packages": (requests._PACKAGES, (PROFILE,), 30),
}
# A query that finds nothing is cheap with any plan.
FOUND = {"a profile and its mapping": 1, "the next batch": 20, "a profile's packages": 3, "copy": 1}


async def test_a_query_costs_by_what_it_gets(empty_database_url: str) -> None:
    """Few pages, and no large table read from its beginning to its end, also by a plan made while it was empty."""
    await migrate_packages(empty_database_url)
    costs: dict[str, dict[str, Cost]] = {}
    async with open_database(empty_database_url) as database, database.work.connection() as early:
        for query, values, _ in CASES.values():
            await prepare(early, query, values)
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(FILL)
            connection.execute("analyze")
        costs["planned when empty"] = {name: await measure(early, *case[:2]) for name, case in CASES.items()}
        async with database.work.connection() as late:
            for query, values, _ in CASES.values():
                await prepare(late, query, values)
            costs["analyzed"] = {name: await measure(late, *case[:2]) for name, case in CASES.items()}
    dear = [
        f"{stage}: {name} (allowed: {CASES[name][2]} pages) took {cost}"
        for stage, of_stage in costs.items()
        for name, cost in of_stage.items()
        if cost.pages > CASES[name][2]
    ]
    assert not dear, "\n".join(dear)
    for stage, of_stage in costs.items():
        assert {name: of_stage[name].rows for name in FOUND} == FOUND, stage
