"""Promise: a database belongs to one Stripe account in one mode; nothing is written with any other key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from handlers.stripe import stripe_account
from handlers.stripe.local import LocalStripe
from tests.support.shop import open_database, open_stripe, stripe_settings
from worker.errors import CheckFailed
from worker.outcomes import Unavailable
from worker.postgres.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The engine's connections."""
    async with open_database(database_url) as database:
        yield database


@pytest.fixture
async def server() -> AsyncIterator[LocalStripe]:
    """A Stripe of the test's own."""
    async with LocalStripe() as server:
        yield server


async def test_the_account_is_asked_for_once(server: LocalStripe, database: Database) -> None:
    """Twenty callers at the start share one check, and later calls need none."""
    async with open_stripe(stripe_settings(server), database) as client:
        accounts = await asyncio.gather(*(client.verify() for _ in range(20)))
        await client.read("price.list", client.api.prices.list_async)
    assert set(accounts) == {server.account}
    assert [call.path for call in server.calls] == ["/v1/account", "/v1/prices"]


async def test_a_caller_that_is_cancelled_does_not_end_the_check_of_the_others(
    server: LocalStripe, database: Database
) -> None:
    """A handler that runs out of time while the account is being checked takes nobody with it."""
    gate = server.hold("GET", "/v1/account")
    async with open_stripe(stripe_settings(server), database) as client:
        hasty, patient = (asyncio.create_task(client.verify()) for _ in range(2))
        await gate.reached
        hasty.cancel()
        gate.release()
        assert await patient == server.account
    assert len(server.calls) == 1


async def test_another_account_is_refused_until_it_is_mended(server: LocalStripe, database: Database) -> None:
    """The second account raises an alarm at each call, writes nothing, and readiness says what to do."""
    async with open_stripe(stripe_settings(server), database) as client:
        assert await stripe_account(client) == f"account {server.account}, test mode, at {server.url}"
    async with LocalStripe() as other, open_stripe(stripe_settings(other), database) as client:
        for _ in range(2):
            with pytest.raises(Unavailable, match=f"belongs to Stripe account {server.account}") as caught:
                await client.write("product.create", client.api.products.create_async, params={}, key="k")
            assert caught.value.alarm
        with pytest.raises(CheckFailed, match=f"Set a key of {server.account}"):
            await stripe_account(client)
        assert {call.path for call in other.calls} == {"/v1/account"}
        async with database.connection() as connection:
            await connection.execute("delete from hearken.stripe_account")
        assert await stripe_account(client) == f"account {other.account}, test mode, at {other.url}"


async def test_a_live_key_is_refused_where_test_was_recorded(server: LocalStripe, database: Database) -> None:
    """The same account in live mode is another catalogue."""
    async with open_stripe(stripe_settings(server), database) as client:
        await client.verify()
    live = stripe_settings(server).model_copy(update={"key": SecretStr(server.access.issue("sk_live_"))})
    async with open_stripe(live, database) as client:
        with pytest.raises(Unavailable, match=r"\(test mode\), but STRIPE_SECRET_KEY is for .* \(live mode\)"):
            await client.verify()


async def test_a_worker_that_starts_without_stripe_goes_on_when_it_is_back(
    server: LocalStripe, database: Database
) -> None:
    """A failed check is not remembered: readiness is red meanwhile, and green as soon as Stripe answers."""
    server.fault("error_503", times=None)
    async with open_stripe(stripe_settings(server), database) as client:
        with pytest.raises(CheckFailed, match="HTTP 503"):
            await stripe_account(client)
        server.clear_faults()
        assert server.account in await stripe_account(client)


async def test_a_key_revoked_later_turns_readiness_red(server: LocalStripe, database: Database) -> None:
    """The check that went well at the start is not trusted any more once a call was denied."""
    async with open_stripe(stripe_settings(server), database) as client:
        await client.verify()
        server.access.revoke(server.key)
        with pytest.raises(Unavailable):
            await client.read("price.list", client.api.prices.list_async)
        with pytest.raises(CheckFailed, match="STRIPE_SECRET_KEY"):
            await stripe_account(client)


async def test_an_address_that_is_no_stripe_stops_everything(server: LocalStripe, database: Database) -> None:
    """A wrong STRIPE_API_BASE must not end as one dead event per row."""
    wrong = stripe_settings(server, api_base=f"{server.url}/elsewhere")
    async with open_stripe(wrong, database) as client:
        with pytest.raises(Unavailable, match="STRIPE_API_BASE") as caught:
            await client.verify()
    assert caught.value.alarm


async def test_two_processes_at_first_contact_agree(server: LocalStripe, database: Database) -> None:
    """Both record the account at the same moment: one row, and both go on."""
    async with (
        open_stripe(stripe_settings(server), database) as one,
        open_stripe(stripe_settings(server), database) as two,
    ):
        assert set(await asyncio.gather(one.verify(), two.verify())) == {server.account}
    async with database.connection() as connection:
        rows = await (await connection.execute("select * from hearken.stripe_account")).fetchall()
    assert [(row["account"], row["mode"]) for row in rows] == [(server.account, "test")]
