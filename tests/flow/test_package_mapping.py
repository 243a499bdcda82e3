"""Promise: a profile's customer is looked for once, in a real CRM, and what was found is kept with its reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from handlers.packages.mapping import get_or_create_mapping
from tests.support.gateway import Fault
from tests.support.packages import Club, open_club
from worker.dev.embedded import EmbeddedPostgres
from worker.outcomes import Park, Unavailable


@pytest.fixture
async def club(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> AsyncIterator[Club]:
    """A club with nobody in it."""
    async with open_club(shared_postgres, empty_database_url) as club:
        yield club


async def test_the_stored_mapping_is_used_without_asking(club: Club) -> None:
    """One that a person has made, or an earlier login."""
    profile = await club.mapped(7, email="jane@example.com")
    assert (await club.map(profile)).customer_id == "7"
    assert club.gateway.calls == []


async def test_a_match_is_kept_with_method_confidence_and_time(club: Club) -> None:
    """And the second time it is the stored one."""
    await club.crm.customer(7, email="Jane@Example.COM ", phone="0812345678")
    profile = await club.profile(email="jane@example.com", name="Jane")
    assert (await club.map(profile)).customer_id == "7"
    row = await club.stored(profile)
    assert (row["crm_customer_id"], row["match_method"], row["match_confidence"]) == ("7", "email", Decimal("0.95"))
    assert row["matched_at"] is not None
    asked = len(club.gateway.calls)
    assert (await club.map(profile)).match is None
    assert len(club.gateway.calls) == asked


@pytest.mark.parametrize("written", ["081-234-5678", "+66 81 234 5678", "(08) 1234 5678", "12345678", "0066812345678"])
async def test_a_number_is_found_however_the_crm_has_written_it(club: Club, written: str) -> None:
    """The CRM is asked for the last eight digits with anything between them."""
    await club.crm.customer(7, phone=written)
    await club.crm.customer(8, phone="081-234-5679")
    profile = await club.profile(phone_number="0812345678")
    assert (await club.map(profile)).customer_id == "7"


@pytest.mark.parametrize(
    "email", ["a+b@example.com", "100%@example.com", "a_b@example.com", 'o\'neil,(x)."y"@example.com', "a\\b@x.com"]
)
async def test_an_address_is_text_and_no_pattern(club: Club, email: str) -> None:
    """Whatever stands in it; the ones that a pattern would fit are others."""
    await club.crm.customer(7, email=email)
    await club.crm.customer(8, email="axb@example.com")
    await club.crm.customer(9, email=f"x{email}")
    await club.crm.customer(10, email="100x@example.com")
    profile = await club.profile(email=email)
    assert (await club.map(profile)).customer_id == "7"


async def test_a_namesake_with_a_longer_address_hides_nobody(club: Club) -> None:
    """The CRM gives it in answer to the wide question about the address; the number is asked for all the same."""
    await club.crm.customer(7, email="sajane@example.com", name="Jane Doe")
    await club.crm.customer(8, phone="0812345678")
    profile = await club.profile(email="jane@example.com", name="Jane Doe", phone_number="0812345678")
    assert (await club.map(profile)).customer_id == "8"


async def test_two_customers_are_recorded_and_none_is_chosen(club: Club) -> None:
    """With what each agrees in; the next attempt finds the one that a person has left."""
    await club.crm.customer(7, phone="0812345678", name="Jane Doe")
    await club.crm.customer(8, phone="+66812345678", name="John Doe")
    profile = await club.profile(phone_number="0812345678")
    assert (await club.map(profile)).customer_id is None
    row = await club.stored(profile)
    assert row["candidates"] == [{"customer": "7", "agrees": ["phone"]}, {"customer": "8", "agrees": ["phone"]}]
    assert (row["crm_customer_id"], row["match_method"], row["matched_at"]) == (None, "phone", None)
    await club.crm.execute("delete from customers where id = 8")
    assert (await club.map(profile)).customer_id == "7"


async def test_nobody_is_recorded_too(club: Club) -> None:
    """An attempt without candidates says when it was made."""
    profile = await club.profile(email="nobody@example.com", phone_number="0812345678", name="Nobody")
    assert (await club.map(profile)).customer_id is None
    row = await club.stored(profile)
    assert (row["candidates"], row["match_method"]) == ([], None)
    assert [call.table for call in club.gateway.calls] == ["customers", "customers"]


async def test_a_mapping_made_by_a_person_meanwhile_counts(club: Club) -> None:
    """What a person stores while the CRM is asked is not overwritten by what the CRM says."""
    await club.crm.customer(7, email="jane@example.com")
    profile = await club.profile(email="jane@example.com")
    club.gateway.fault(Fault(delay=60))
    finding = asyncio.create_task(club.map(profile))
    await club.gateway.asked(1)
    await club.execute(
        "insert into public.crm_customer_mapping (profile_id, crm_customer_id, match_method)"
        " values (%s, '9', 'manual')",
        profile,
    )
    club.gateway.release()
    assert (await finding).customer_id == "9"
    assert (await club.stored(profile))["match_method"] == "manual"


async def test_a_profile_that_is_not_there_has_no_mapping(club: Club) -> None:
    """Deleted, or no id at all."""
    for profile in ("00000000-0000-0000-0000-000000000000", "no uuid", ""):
        assert await get_or_create_mapping(club.client, club.database, profile) is None


async def test_a_crm_that_is_down_leaves_no_attempt(club: Club) -> None:
    """Not knowing is not the same as finding nobody."""
    profile = await club.profile(email="jane@example.com")
    club.gateway.fault(Fault(status=503, times=None))
    with pytest.raises(Unavailable):
        await club.map(profile)
    assert await club.execute("select * from public.crm_customer_mapping") == []


async def test_a_customer_that_does_not_fit_is_named_without_its_values(club: Club) -> None:
    """The CRM's row has to be mended by a person."""
    profile = await club.profile(email="jane@example.com")
    body = '[{"id": 7, "name": {"first": "Jane"}, "email": 12, "phone": ["0812345678"]}]'
    club.gateway.fault(Fault(status=200, body=body, headers={"Content-Range": "0-0/1"}))
    with pytest.raises(Park, match=r"customers does not fit \(id 7\): name, phone") as caught:
        await club.map(profile)
    assert "Jane" not in caught.value.reason


async def test_keys_may_be_texts(shared_postgres: EmbeddedPostgres, empty_database_url: str) -> None:
    """A CRM with uuids, or names, for keys."""
    async with open_club(shared_postgres, empty_database_url, key="text") as club:
        await club.crm.add("customers", id='a "quoted", (odd) key', email="jane@example.com")
        await club.crm.add("packages", id="p,1", customer_id='a "quoted", (odd) key', package_name="Gold")
        await club.crm.add("customers", id="another", email="joe@example.com")
        await club.crm.add("packages", id="p,2", customer_id="another", package_name="Silver")
        profile = await club.profile(email="jane@example.com")
        assert (await club.sync(profile)).packages == 1
        await club.crm.execute("delete from packages where id = 'p,1'")
        assert (await club.sync(profile)).removed == 1
