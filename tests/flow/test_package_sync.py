"""Promise: the local copy becomes what the CRM has; newer is never overwritten by older, and nothing is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal

import pytest

from handlers.packages.sync import sync_packages
from tests.support.gateway import Fault
from tests.support.packages import Club, open_club
from worker.dev.embedded import EmbeddedPostgres
from worker.outcomes import Park, Unavailable


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """Customer 7 with packages 70 and 71."""
    async with open_club(shared_postgres, empty_database_url) as club:
        await club.crm.customer(7)
        yield club


async def test_packages_are_copied_with_every_column(club: Club) -> None:
    """Hours stay exact, dates are dates, what is empty stays empty."""
    await club.crm.execute(
        "update packages set total_hours = 10, used_hours = 0.1, purchase_date = '2024-01-02',"
        " expiration_date = '2025-01-02', updated_at = '2024-03-01T10:00:00.123456+07' where id = 70"
    )
    synced = await club.sync(await club.mapped(7))
    assert (synced.packages, synced.removed) == (2, 0)
    row = (await club.packages())["70"]
    assert (row["crm_customer_id"], row["package_name"], row["first_use_date"]) == ("7", "Gold", None)
    assert (row["total_hours"], row["used_hours"]) == (10, Decimal("0.1"))
    assert row["remaining_hours"] == Decimal("7.25")
    assert (row["purchase_date"], row["expiration_date"]) == (date(2024, 1, 2), date(2025, 1, 2))
    assert row["source_updated_at"].isoformat() == "2024-03-01T03:00:00.123456+00:00"


async def test_a_profile_is_matched_and_synced_at_once(club: Club) -> None:
    """The first login of somebody whom the CRM knows."""
    await club.crm.execute("update customers set email = 'jane@example.com'")
    profile = await club.profile(email="jane@example.com")
    assert (await club.sync(profile)).packages == 2
    assert (await club.stored(profile))["synced_at"] is not None


async def test_a_profile_without_a_customer_has_nothing_to_sync(club: Club) -> None:
    """Nor has one that is not there."""
    synced = await club.sync(await club.profile(name="Nobody"))
    assert (synced.mapping.customer_id, synced.packages) == (None, 0)
    assert await sync_packages(club.client, club.database, "00000000-0000-0000-0000-000000000000") is None


async def test_what_the_crm_no_longer_has_is_marked_and_comes_back(club: Club) -> None:
    """Nothing is deleted; a package that is there again is no longer removed."""
    profile = await club.mapped(7)
    await club.sync(profile)
    await club.crm.execute(
        "create table kept as select * from packages where id = 71; delete from packages where id = 71"
    )
    assert (await club.sync(profile)).removed == 1
    assert (await club.sync(profile)).removed == 0
    rows = await club.packages()
    assert rows["71"]["removed_at"] is not None
    assert rows["70"]["removed_at"] is None
    await club.crm.execute("insert into packages select * from kept")
    await club.sync(profile)
    assert await club.live() == {"70", "71"}


async def test_a_second_sync_changes_nothing(club: Club) -> None:
    """But the time it was last seen."""
    profile = await club.mapped(7)
    await club.sync(profile)
    before = await club.packages()
    await club.sync(profile)
    after = await club.packages()
    for rows in (before, after):
        for row in rows.values():
            row.pop("seen_at")
    assert after == before


async def test_an_older_row_does_not_overwrite_a_newer_one(club: Club) -> None:
    """By the CRM's own time: a replica that lags behind says nothing new."""
    profile = await club.mapped(7)
    await club.crm.execute("update packages set remaining_hours = 3, updated_at = '2024-03-02Z'")
    await club.sync(profile)
    await club.crm.execute("update packages set remaining_hours = 9, updated_at = '2024-03-01Z'")
    await club.sync(profile)
    assert (await club.packages())["70"]["remaining_hours"] == 3
    await club.crm.execute("update packages set remaining_hours = 2, updated_at = '2024-03-03Z'")
    await club.sync(profile)
    assert (await club.packages())["70"]["remaining_hours"] == 2


async def overtaken(club: Club, profile: str, change: str) -> None:
    """One sync asks, and its answer is late; meanwhile the CRM changes, and another sync comes and goes."""
    before = len(club.gateway.calls)
    club.gateway.fault(Fault(late=60))
    slow = asyncio.create_task(club.sync(profile))
    await club.gateway.asked(before + 1)
    await club.gateway.answered(before + 1)
    await club.crm.execute(change)
    await club.sync(profile)
    club.gateway.release()
    await slow


async def test_a_late_answer_brings_no_removed_package_back(club: Club) -> None:
    """It was there when the slow one asked: the one that asked later knows better."""
    profile = await club.mapped(7)
    await club.sync(profile)
    await overtaken(club, profile, "delete from packages where id = 71")
    assert await club.live() == {"70"}


async def test_a_late_answer_removes_no_new_package(club: Club) -> None:
    """It was not there yet when the slow one asked."""
    profile = await club.mapped(7)
    await overtaken(club, profile, "insert into packages (id, customer_id, package_name) values (72, 7, 'New')")
    assert await club.live() == {"70", "71", "72"}


async def test_a_late_answer_overwrites_nothing_newer(club: Club) -> None:
    """Even where the CRM's clock says the same."""
    profile = await club.mapped(7)
    await overtaken(club, profile, "update packages set remaining_hours = 1 where id = 70")
    assert (await club.packages())["70"]["remaining_hours"] == 1


async def test_a_package_that_changes_hands_is_its_new_owners(club: Club) -> None:
    """Whichever of the two is synced first."""
    await club.crm.customer(8)
    first, second = await club.mapped(7), await club.mapped(8)
    await club.sync(first)
    await club.sync(second)
    await club.crm.execute("update packages set customer_id = 8, updated_at = now() where id = 70")
    await club.crm.execute("update packages set customer_id = 7, updated_at = now() where id = 80")
    await club.sync(first)
    await club.sync(second)
    owners = {key: row["crm_customer_id"] for key, row in (await club.packages()).items()}
    assert owners == {"70": "8", "71": "7", "80": "7", "81": "8"}
    assert len(await club.live()) == 4


async def test_a_half_read_list_removes_nothing(club: Club) -> None:
    """Pages that stop coming are an error, never an end."""
    profile = await club.mapped(7)
    await club.sync(profile)
    club.gateway.fault(Fault(cut=True, times=None))
    with pytest.raises(Unavailable):
        await club.sync(profile)
    assert await club.live() == {"70", "71"}


async def test_a_policy_that_hides_the_packages_alone_removes_nothing(club: Club) -> None:
    """The customer is there, and nobody has any package: that is a policy sooner than the end of the business."""
    profile = await club.mapped(7)
    await club.sync(profile)
    await club.crm.execute("alter table packages enable row level security")
    with pytest.raises(Park, match="no packages of anybody"):
        await club.sync(profile)
    assert await club.live() == {"70", "71"}


async def test_a_policy_that_hides_everything_removes_nothing(club: Club) -> None:
    """Row security answers with an empty list and 200: then the customer is not to be seen either."""
    profile = await club.mapped(7)
    await club.sync(profile)
    await club.crm.execute(
        "alter table customers enable row level security; alter table packages enable row level security"
    )
    with pytest.raises(Park, match="no longer shows customer 7"):
        await club.sync(profile)
    assert await club.live() == {"70", "71"}


async def test_all_packages_of_a_customer_may_go(club: Club) -> None:
    """One who is still there, and has none left."""
    profile = await club.mapped(7)
    await club.sync(profile)
    await club.crm.execute("update packages set customer_id = 8")
    assert (await club.sync(profile)).removed == 2
    assert await club.live() == set()


async def test_packages_of_another_customer_are_refused(club: Club) -> None:
    """A gateway that mixes up its answers must not give Jane's hours to John."""
    profile = await club.mapped(8)
    row = '[{"id": 1, "customer_id": 7, "package_name": "Gold", "updated_at": "2024-03-01T00:00:00Z"}]'
    club.gateway.fault(Fault(status=200, body=row, headers={"Content-Range": "0-0/1"}))
    with pytest.raises(Park, match="gave those of others"):
        await club.sync(profile)
    assert await club.packages() == {}


async def test_a_package_that_does_not_fit_is_named_without_its_values(club: Club) -> None:
    """Nothing of the customer is changed until it is mended in the CRM."""
    profile = await club.mapped(7)
    row = '[{"id": 5, "customer_id": 7, "package_name": "Gold", "total_hours": "lots", "updated_at": "soon"}]'
    club.gateway.fault(Fault(status=200, body=row, headers={"Content-Range": "0-0/1"}))
    with pytest.raises(Park, match=r"packages does not fit \(id 5\): total_hours, updated_at") as caught:
        await club.sync(profile)
    assert "lots" not in caught.value.reason
    assert await club.packages() == {}


async def test_two_profiles_of_one_customer_share_the_copy(club: Club) -> None:
    """Somebody who logs in by two ways."""
    first, second = await club.mapped(7), await club.mapped(7)
    await asyncio.gather(*(club.sync(profile) for profile in (first, second) * 5))
    assert await club.live() == {"70", "71"}
