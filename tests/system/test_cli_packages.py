"""Promise: `hearken packages` syncs by hand, says why a profile is whom it is, and prints SQL that works."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.support.cli import Result, hearken
from tests.support.gateway import Fault
from tests.support.packages import PACKAGE, Club, open_club
from worker.dev.embedded import EmbeddedPostgres


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """A club with nobody in it."""
    async with open_club(shared_postgres, empty_database_url) as club:
        yield club


async def packages(club: Club, *arguments: str, **environment: str) -> Result:
    """`hearken packages …`, with what leads to the CRM."""
    settings = {"HEARKEN_HANDLERS": PACKAGE, **club.environment, **environment}
    return await hearken(club.url, "packages", *arguments, **settings)


async def test_one_profile_is_synced(club: Club) -> None:
    """Found, matched and copied; the same as JSON."""
    await club.crm.customer(7, email="jane@example.com")
    profile = await club.profile(email="jane@example.com")
    told = await packages(club, "sync", "--profile", profile)
    assert (told.code, told.out) == (0, f"{profile} is customer 7: 2 packages, 0 newly removed\n")
    told = await packages(club, "sync", "--profile", profile, "--json")
    assert told.json == {"profile": profile, "customer": "7", "packages": 2, "removed": 0}


async def test_all_profiles_are_synced(club: Club) -> None:
    """With what failed, and exit code 1 then."""
    await club.fill(5)
    told = await packages(club, "sync", "--all", "--batch-size", "3")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("5 of 5 profiles synced in ")
    club.gateway.fault(Fault(status=400, only=lambda call: call.query.get("customer_id") == "eq.2"))
    told = await packages(club, "sync", "--all", "--max", "4", "--json")
    assert told.code == 1
    assert (told.json["result"]["totalProfiles"], told.json["result"]["failedProfiles"]) == (4, 1)


async def test_a_match_is_explained(club: Club) -> None:
    """What is stored, what the CRM says now, and in what the candidates agree; nothing is written."""
    await club.crm.customer(7, phone="0812345678", name="Jane Doe")
    await club.crm.customer(8, phone="+66812345678")
    profile = await club.profile(phone_number="081-234-5678")
    told = await packages(club, "match", profile)
    assert told.code == 1
    table = [line.split() for line in told.out.splitlines()[-3:]]
    assert table == [["candidate", "agrees", "in"], ["7", "phone"], ["8", "phone"]]
    assert "none is chosen" in told.err
    assert await club.execute("select profile_id from public.crm_customer_mapping") == []
    await club.execute("update public.profiles set name = 'Jane Doe'")
    told = await packages(club, "match", profile, "--json")
    assert told.code == 0
    assert told.json["found"] == {"customer": "7", "method": "phone+name", "confidence": 0.9}
    assert told.json["stored"] is None
    assert told.json["candidates"][1] == {"customer": "8", "agrees": ["phone"]}


async def test_nobody_is_exit_code_1(club: Club) -> None:
    """A profile that no customer fits."""
    profile = await club.profile(name="Nobody")
    assert (await packages(club, "match", profile)).code == 1
    told = await packages(club, "sync", "--profile", profile)
    assert told.code == 1
    assert told.err == f"{profile}: no customer of the CRM fits this profile; see `hearken packages match {profile}`\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sync"], "either --profile ID or --all"),
        (["sync", "--all", "--profile", "x"], "either --profile ID or --all"),
        (["sync", "--all", "--batch-size", "0"], "--batch-size"),
        (["sync", "--profile", "nobody"], "no such profile: nobody"),
        (["match", "nobody"], "no such profile: nobody"),
        (["cron-sql"], "--url"),
        (["cron-sql", "--url", "worker"], "--url must be the worker's address"),
        (["cron-sql", "--url", "https://w", "--schedule", "now"], "now"),
    ],
)
async def test_wrong_usage_is_one_clear_line(club: Club, arguments: list[str], says: str) -> None:
    """Exit code 2."""
    told = await packages(club, *arguments)
    assert (told.code, told.out) == (2, "")
    assert says in told.err
    assert "Traceback" not in told.err


async def test_a_crm_that_is_not_there_is_said(club: Club) -> None:
    """Without its settings exit code 2, with a CRM that fails 1: each in one line."""
    told = await packages(club, "sync", "--all", CRM_SUPABASE_URL="", CRM_SUPABASE_KEY="")
    assert told.code == 2
    assert "neither CRM_SUPABASE_URL nor CRM_SUPABASE_KEY is set" in told.err
    await club.fill(1)
    club.gateway.fault(Fault(status=401, times=None))
    told = await packages(club, "sync", "--all")
    assert told.code == 1
    assert "denies CRM_SUPABASE_KEY" in told.err
    assert "Traceback" not in told.err


# What of Supabase the SQL uses, with the signatures of pg_cron, pg_net and the Vault.
SUPABASE = """
create schema cron; create schema net; create schema vault;
create table cron.job (jobname text, schedule text, command text);
create table net.request (url text, headers jsonb, body jsonb);
create table vault.decrypted_secrets (name text, decrypted_secret text);
create function cron.schedule(job_name text, schedule text, command text) returns bigint language sql as
    $$ insert into cron.job values (job_name, schedule, command) returning 1::bigint $$;
create function net.http_post(url text, body jsonb default '{}', params jsonb default '{}', headers jsonb default '{}',
    timeout_milliseconds int default 5000) returns bigint language sql as
    $$ insert into net.request values (url, headers, body) returning 1::bigint $$;
"""


async def test_the_sql_for_pg_cron_asks_for_the_daily_sync(club: Club) -> None:
    """The job that it makes sends the seed's request, with the secret of the Vault, which stands nowhere in the SQL."""
    told = await packages(club, "cron-sql", "--url", "https://w.example.com/", "--schedule", "0 6,18 * * *")
    assert told.code == 0
    with psycopg.connect(club.url, autocommit=True) as connection:
        connection.execute(SUPABASE)
        connection.execute("insert into vault.decrypted_secrets values ('hearken_cron_secret', 'a-real-secret')")
        connection.execute(told.out.encode())
        ((name, schedule, command),) = connection.execute("select * from cron.job").fetchall()
        connection.execute(command.encode())
        ((url, headers, body),) = connection.execute("select url, headers, body from net.request").fetchall()
    assert (name, schedule) == ("daily-package-sync", "0 6,18 * * *")
    assert url == "https://w.example.com/api/crm/sync-packages?wait=0"
    assert headers == {"Authorization": "Bearer a-real-secret", "Content-Type": "application/json"}
    assert body == json.loads('{"batchSize": 20, "maxProfiles": null, "onlyNewProfiles": false}')
