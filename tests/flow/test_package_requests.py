"""Promise: the package sync is asked for by HTTP and by schedule as documented."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handlers.packages import crm, daily_package_sync, sync_all_packages
from handlers.packages.bulk import bulk_sync
from tests.support.asking import SECRET
from tests.support.gateway import Fault
from tests.support.packages import Club, open_club, own_registry
from tests.support.schemathesis import hold_against
from tests.support.served import Reply, Served, served
from worker.dev.embedded import EmbeddedPostgres
from worker.testing import bench

BULK, VIP = "/api/crm/sync-packages", "/api/vip/packages"
SEED: dict[str, Any] = {"batchSize": 20, "maxProfiles": None, "onlyNewProfiles": False}
BEARER = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """A club with nobody in it."""
    async with open_club(shared_postgres, empty_database_url) as club:
        yield club


@asynccontextmanager
async def serving(club: Club, monkeypatch: pytest.MonkeyPatch, *, on: bool = True) -> AsyncIterator[Served]:
    """A ready worker with the package sync alone; `on`: with a CRM."""
    for name, value in club.environment.items():
        monkeypatch.setenv(name, value if on else "")
    async with served(club.url, own_registry(), CRON_SECRET=SECRET) as worker:
        await worker.until_ready()
        yield worker


async def post(worker: Served, path: str, body: object, query: str = "") -> Reply:
    return await worker.post(path + query, body, BEARER)


async def get(worker: Served, path: str) -> Reply:
    return await worker.get(path, headers=BEARER)


async def test_a_bulk_sync_is_answered_with_its_result(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed's own request; GET has the same answer afterwards, and nothing before."""
    await club.fill(3)
    async with serving(club, monkeypatch) as worker:
        before = await get(worker, BULK)
        reply = await post(worker, BULK, SEED)
        after = await get(worker, BULK)
    assert (before.status, before.json) == (200, None)
    assert (reply.status, reply.json["success"]) == (200, True)
    result = reply.json["result"]
    assert (result["totalProfiles"], result["successfulProfiles"], result["totalPackages"]) == (3, 3, 6)
    assert (after.status, after.json) == (200, reply.json)


@pytest.mark.parametrize("body", [{"batchSize": 0}, {"batchSize": "20"}, {"maxProfiles": 0}, {"profiles": 1}, []])
async def test_an_unsound_bulk_sync_is_refused(club: Club, monkeypatch: pytest.MonkeyPatch, body: object) -> None:
    """422, and nothing is begun."""
    async with serving(club, monkeypatch) as worker:
        assert (await post(worker, BULK, body)).status == 422
    assert await club.execute("select id from hearken.package_syncs") == []


async def test_a_second_bulk_sync_is_told_of_the_first(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 with the run that is under way; the first one's answer is there in the end."""
    await club.fill(3)
    club.gateway.fault(Fault(delay=60, times=1))
    async with serving(club, monkeypatch) as worker:
        first = await post(worker, BULK, SEED, "?wait=0")
        await club.gateway.asked(2)
        second = await post(worker, BULK, SEED)
        club.gateway.release()
        where = f"{first.json['status_url']}?secret={SECRET}"
        ended = await worker.until(where, lambda run: run.json["ended_at"] is not None)
    assert (first.status, second.status) == (202, 409)
    assert second.json["run"] == first.json["run"]
    assert ended.json["result"]["result"]["totalProfiles"] == 3


async def test_a_profile_is_synced_on_request(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """POST syncs it, GET has its packages from the copy; removed ones are not among them."""
    await club.crm.customer(7, email="jane@example.com")
    profile = await club.profile(email="jane@example.com")
    async with serving(club, monkeypatch) as worker:
        before = await get(worker, f"{VIP}?profileId={profile}")
        reply = await post(worker, VIP, {"profileId": profile})
        await club.crm.execute("delete from packages where id = 71")
        again = await post(worker, VIP, {"profileId": profile})
        after = await get(worker, f"{VIP}?profileId={profile}")
    assert before.json == {"profileId": profile, "packages": []}
    assert reply.json == {"profileId": profile, "packages": 2, "removed": 0}
    assert again.json == {"profileId": profile, "packages": 1, "removed": 1}
    (package,) = after.json["packages"]
    assert (package["crm_package_id"], package["package_name"]) == ("70", "Gold")
    assert (package["remaining_hours"], package["expiration_date"]) == (7.25, None)


async def test_an_unknown_profile_is_said_to_be_one(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """404 for its packages, a reason for its sync; one that no customer fits is no failure either."""
    stranger = await club.profile(email="nobody@example.com")
    async with serving(club, monkeypatch) as worker:
        for profile in ("00000000-0000-0000-0000-000000000000", "nobody"):
            assert (await get(worker, f"{VIP}?profileId={profile}")).status == 404
            assert (await post(worker, VIP, {"profileId": profile})).json["skipped"] == "there is no profile of this id"
        skipped = (await post(worker, VIP, {"profileId": stranger})).json["skipped"]
        assert (await get(worker, VIP)).status == 422
        assert (await post(worker, VIP, {})).status == 422
    assert skipped == "no customer of the CRM fits this profile"


async def test_a_profile_that_no_text_can_name_is_refused(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NUL is the asker's mistake: 422 at once, no failure of the server and no run that is tried again."""
    async with serving(club, monkeypatch) as worker:
        assert (await get(worker, f"{VIP}?profileId=a%00b")).status == 422
        assert (await post(worker, VIP, {"profileId": "a\0b"}, "?wait=0")).status == 422
    assert await club.execute("select event_id from hearken.runs") == []


async def test_without_a_crm_requests_say_so(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is ready, and tells that the package sync is off."""
    profile = await club.mapped(7)
    async with serving(club, monkeypatch, on=False) as worker:
        replies = [await post(worker, BULK, SEED), await post(worker, VIP, {"profileId": profile})]
        line = (await worker.get("/readyz")).line("crm")
    for reply in replies:
        assert "package sync is off" in reply.json["skipped"]
    assert "package sync is off" in line


async def test_a_crm_that_denies_the_key_is_red(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator sees it before the first login fails."""
    async with serving(club, monkeypatch) as worker:
        club.gateway.fault(Fault(status=401, times=None))
        assert "Set a key that has the permission" in await worker.until_red("crm")


async def test_every_night_all_are_synced(club: Club) -> None:
    """The tick does what the request does."""
    await club.fill(3)
    async with bench(club.url, daily_package_sync, sync_all_packages, resources={crm: club.link}) as stage:
        await stage.tick("daily-package-sync")
        await stage.drain()
        (run,) = await stage.execute("select state, result from hearken.runs")
    assert (run["state"], run["result"]["result"]["totalProfiles"]) == ("succeeded", 3)
    assert len(await club.live()) == 6


async def test_the_tick_waits_for_a_bulk_sync_that_is_under_way(club: Club) -> None:
    """One of a few profiles must not stand for that of the night."""
    await club.fill(3)
    async with bench(club.url, daily_package_sync, resources={crm: club.link}) as stage:

        async def meanwhile(_: object) -> None:
            await stage.tick("daily-package-sync")
            await stage.drain()

        await bulk_sync(club.client, club.database, progress=meanwhile)
        (parked,) = await stage.parked()
        assert (parked["state"], parked["attempt"]) == ("due", 0)
        assert "is running since" in parked["reason"]
        await stage.execute("update hearken.parked set due_at = now()")
        await stage.drain()
        assert await stage.parked() == []
    assert len(await club.execute("select id from hearken.package_syncs where completed")) == 2


async def test_the_endpoints_hold_against_schemathesis(
    club: Club, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As they are declared, but for their rate; with profiles that are there."""
    await club.fill(3)
    registry = own_registry()
    for handler in list(registry.handlers.values()):
        if handler.endpoint is not None:
            registry.handlers[handler.name] = replace(handler, endpoint=replace(handler.endpoint, rate=1_000_000))
    for name, value in club.environment.items():
        monkeypatch.setenv(name, value)
    async with served(club.url, registry, CRON_SECRET=SECRET) as worker:
        await worker.until_ready()
        await hold_against(worker.url, tmp_path)
