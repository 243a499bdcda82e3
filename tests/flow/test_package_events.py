"""Promise: a login or a booking brings the packages, and is never harmed by what the CRM does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from handlers.packages import crm, sync_booking, sync_profile
from tests.support.gateway import Fault
from tests.support.packages import Club, application, open_club
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres
from worker.testing import Bench, bench


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """Customer 7 with packages 70 and 71."""
    async with open_club(shared_postgres, empty_database_url) as club:
        await club.crm.customer(7, email="jane@example.com")
        yield club


@asynccontextmanager
async def watched(club: Club, *, on: bool = True) -> AsyncIterator[Bench]:
    """The two handlers over the club's database; `on`: with a CRM."""
    async with bench(club.url, sync_profile, sync_booking, resources={crm: club.link if on else None}) as stage:
        yield stage


LOGIN = "update public.profiles set last_login_at = clock_timestamp() where id = %s"
BOOK = "insert into public.bookings (profile_id) values (%s)"


async def test_a_login_brings_the_packages(club: Club) -> None:
    """Of a profile that had no mapping before."""
    profile = await club.profile(email="jane@example.com")
    async with watched(club) as stage:
        await stage.execute(LOGIN, (profile,))
        await stage.drain()
        assert await stage.parked() == []
    assert await club.live() == {"70", "71"}


async def test_a_first_login_is_an_insert(club: Club) -> None:
    """A profile is often made by its first login."""
    async with watched(club) as stage:
        await stage.execute("insert into public.profiles (email, last_login_at) values ('jane@example.com', now())")
        await stage.drain()
    assert await club.live() == {"70", "71"}


async def test_an_import_of_profiles_asks_nothing(club: Club) -> None:
    """They have not logged in: thousands of new rows are not thousands of questions."""
    async with watched(club) as stage:
        await stage.execute("insert into public.profiles (email) values ('jane@example.com')")
        await stage.drain()
        assert await stage.parked() == []
    assert club.gateway.calls == []


async def test_a_booking_brings_the_packages(club: Club) -> None:
    """Of the profile that has booked; a guest's booking brings nothing, and is no failure."""
    profile = await club.mapped(7)
    async with watched(club) as stage:
        await stage.execute(BOOK, (profile,))
        await stage.execute("insert into public.bookings (profile_id) values (null)")
        await stage.drain()
        assert await stage.parked() == []
    assert await club.live() == {"70", "71"}


async def test_repeated_logins_are_one_sync(club: Club) -> None:
    """Fifty logins while no worker ran: the CRM is asked once; other changes of a profile ask nothing."""
    profile = await club.mapped(7)
    async with watched(club) as stage:
        for _ in range(50):
            await stage.execute(LOGIN, (profile,))
        await stage.execute("update public.profiles set name = 'Jane' where id = %s", (profile,))
        await stage.drain()
    assert len(club.gateway.calls) == 1


async def test_the_log_holds_no_names_and_numbers(club: Club) -> None:
    """What a handler reads from the row need not be kept a second time."""
    async with watched(club) as stage:
        await stage.execute(
            "insert into public.profiles (name, email, phone_number, last_login_at)"
            " values ('Jane Doe', 'jane@example.com', '0812345678', now())"
        )
        (event,) = await stage.execute("select new::text as new from hearken.events")
    assert not {"Jane Doe", "jane@example.com", "0812345678"} & set(event["new"].split('"'))


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(drop=True), Fault(status=429), Fault(status=401)])
async def test_a_crm_that_fails_harms_neither_login_nor_booking(club: Club, fault: Fault) -> None:
    """Both are committed whatever the CRM does; the sync is parked, and done when the CRM is back."""
    profile = await club.mapped(7)
    fault.times = None
    club.gateway.fault(fault)
    async with watched(club) as stage:
        await stage.execute(LOGIN, (profile,))
        await stage.execute(BOOK, (profile,))
        await stage.drain()
        assert [row["state"] for row in await stage.parked()] == ["due", "due"]
        assert (await stage.execute("select last_login_at is not null as ok from public.profiles"))[0]["ok"]
        assert len(await stage.execute("select id from public.bookings")) == 1
        club.gateway.faults.clear()
        await stage.execute("update hearken.parked set due_at = now()")
        for consumer in stage.consumers:
            consumer.circuit.succeeded()
        await stage.drain()
        assert await stage.parked() == []
    assert await club.live() == {"70", "71"}


async def test_an_ambiguous_profile_is_no_failure(club: Club) -> None:
    """It is recorded for a person; retrying would not help."""
    await club.crm.customer(8, email="JANE@example.com")
    profile = await club.profile(email="jane@example.com")
    async with watched(club) as stage:
        await stage.execute(LOGIN, (profile,))
        await stage.drain()
        assert await stage.parked() == []
    assert len((await club.stored(profile))["candidates"]) == 2
    assert await club.packages() == {}


async def test_a_profile_deleted_meanwhile_is_no_failure(club: Club) -> None:
    """Its mapping goes with it; what it has booked stays, as nobody's."""
    profile = await club.mapped(7)
    async with watched(club) as stage:
        await stage.execute(LOGIN, (profile,))
        await stage.execute(BOOK, (profile,))
        await stage.execute("delete from public.profiles")
        await stage.drain()
        assert await stage.parked() == []
    assert await club.execute("select * from public.crm_customer_mapping") == []
    assert club.gateway.calls == []


async def test_without_a_crm_it_is_off(club: Club) -> None:
    """Logins and bookings are no failures then, and nothing is asked of anybody."""
    profile = await club.mapped(7)
    async with watched(club, on=False) as stage:
        await stage.execute(LOGIN, (profile,))
        await stage.execute(BOOK, (profile,))
        await stage.drain()
        assert await stage.parked() == []
    assert club.gateway.calls == []


MODULES = ["handlers.packages"]


async def test_a_worker_syncs_what_is_committed(club: Club) -> None:
    """A whole worker, told of the CRM by its environment."""
    profile = await club.profile(email="jane@example.com")
    async with start_worker(club.url, MODULES, None, **club.environment) as worker, application(club.url) as db:
        await worker.said("working")
        await db.execute("update public.profiles set last_login_at = now() where id = %s", (profile,))
        assert (await worker.said("synced"))["packages"] == 2
        assert club.gateway.key not in worker.tail()
    assert await club.live() == {"70", "71"}


async def test_a_worker_without_a_crm_says_so(club: Club) -> None:
    """And works: other systems need no CRM."""
    async with start_worker(club.url, MODULES) as worker:
        await worker.said("package sync is off: neither CRM_SUPABASE_URL nor CRM_SUPABASE_KEY is set")
        await worker.said("working")
