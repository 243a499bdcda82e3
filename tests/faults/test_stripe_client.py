"""Promise: every failure of Stripe becomes the right outcome, short ones are sat out, and no secret gets out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from stripe import Product

from handlers.stripe import Refused, Stripe, StripeOutcome
from handlers.stripe.local import LocalStripe
from tests.support.shop import open_database, open_stripe, stripe_settings
from worker.outcomes import Park, Retry, Unavailable
from worker.postgres.database import Database


@pytest.fixture
async def server() -> AsyncIterator[LocalStripe]:
    """A Stripe of the test's own."""
    async with LocalStripe() as server:
        yield server


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The engine's connections."""
    async with open_database(database_url) as database:
        yield database


@pytest.fixture
async def client(server: LocalStripe, database: Database) -> AsyncIterator[Stripe]:
    """A client that has met its account already."""
    async with open_stripe(stripe_settings(server), database) as client:
        await client.verify()
        server.calls.clear()
        yield client


async def create(client: Stripe, key: str = "k", **params: object) -> Product:
    params = {"id": "p", "name": "Test"} | params
    return await client.write("product.create", client.api.products.create_async, params=params, key=key)


async def test_a_passing_fault_is_sat_out_with_the_same_key(client: Stripe, server: LocalStripe) -> None:
    """Whatever the passing fault, the tries of one call share its idempotency key, and one product is made."""
    for kind in ("lost_reply", "error_503", "in_use"):
        server.fault(kind, "POST")
    product = await create(client, "the key")
    assert product.id == "p"
    assert [call.idempotency_key for call in server.calls] == ["the key"] * 4


@pytest.mark.parametrize(
    ("fault", "status", "outcome"),
    [
        ({"kind": "error_503"}, 503, Unavailable),
        ({"kind": "bad_gateway"}, 502, Unavailable),
        ({"kind": "rate_limit"}, 429, Unavailable),
        ({"kind": "lock_timeout"}, 429, Unavailable),
        ({"kind": "in_use"}, 409, Retry),
        ({"kind": "lock_timeout", "status": 409}, 409, Retry),
        ({"kind": "lost_reply"}, None, Unavailable),
        ({"kind": "cut_body"}, None, Unavailable),
        ({"kind": "reset"}, None, Unavailable),
    ],
)
async def test_a_lasting_fault_is_raised_as_its_outcome(
    client: Stripe, server: LocalStripe, fault: dict[str, object], status: int | None, outcome: type[Exception]
) -> None:
    """After a few tries the event goes back to the engine; nothing definite is known, so the key stays."""
    server.fault(**fault, times=None)  # type: ignore[arg-type]  # the table above holds its arguments
    with pytest.raises(StripeOutcome, match=r"product\.create") as caught:
        await create(client)
    assert isinstance(caught.value, outcome)
    assert not caught.value.definite
    assert status is None or f"HTTP {status}" in caught.value.reason
    assert len(server.calls) == 4


@pytest.mark.parametrize("applied", [True, False])
async def test_an_answer_that_does_not_come_is_not_waited_for(
    server: LocalStripe, database: Database, applied: bool
) -> None:
    """Each try has its own timeout, and whether Stripe has done the write stays unknown."""
    async with open_stripe(stripe_settings(server, timeout=0.15), database) as client:
        await client.verify()
        server.fault("timeout", "POST", apply=applied, times=None)
        with pytest.raises(Unavailable, match="did not answer") as caught:
            await create(client)
    assert isinstance(caught.value, StripeOutcome)
    assert not caught.value.definite


@pytest.mark.parametrize("kind", ["error_500_before", "error_500_after"])
async def test_a_remembered_500_is_not_asked_for_again(client: Stripe, server: LocalStripe, kind: str) -> None:
    """Stripe would only repeat it: one look at what is there is worth more than another try with this key."""
    server.fault(kind, "POST")  # type: ignore[arg-type]  # one of its kinds
    with pytest.raises(Unavailable) as caught:
        await create(client)
    assert isinstance(caught.value, StripeOutcome)
    assert caught.value.definite
    assert len(server.calls) == 1


async def test_retry_after_is_obeyed_when_it_is_short(client: Stripe, server: LocalStripe) -> None:
    """The next request comes when Stripe said, not before."""
    server.fault("rate_limit", retry_after=0.3)
    await create(client)
    first, second = server.calls
    assert second.at - first.at >= 0.29


async def test_retry_after_is_handed_on_when_it_is_long(client: Stripe, server: LocalStripe) -> None:
    """A handler does not wait for a minute: the event is parked for as long as Stripe wishes."""
    server.fault("rate_limit", retry_after=60)
    with pytest.raises(Unavailable) as caught:
        await create(client)
    assert (caught.value.after, caught.value.alarm) == (60, False)
    assert len(server.calls) == 1


async def test_a_wrong_request_is_dead_with_stripes_words(client: Stripe, server: LocalStripe) -> None:
    """400: the reason holds Stripe's message and request id, for a person to look up."""
    with pytest.raises(Park) as caught:
        await create(client, name="")
    assert re.search(r"product\.create \(HTTP 400, .*request req_\w+\): .+", caught.value.reason)
    assert server.calls[-1].request_id in caught.value.reason
    assert len(caught.value.reason) < 500


async def test_what_exists_already_and_what_does_not_exist_are_told_apart(client: Stripe) -> None:
    """By Stripe's code, for the handler to look again; a product that is not there is simply None."""
    await create(client)
    with pytest.raises(Refused) as caught:
        await create(client, "another key")
    assert (caught.value.code, caught.value.definite) == ("resource_already_exists", True)
    assert await client.find("product.retrieve", client.api.products.retrieve_async, "nothing") is None
    found = await client.find("product.retrieve", client.api.products.retrieve_async, "p")
    assert found is not None
    assert found.id == "p"


async def test_a_key_used_for_another_request_gets_a_new_one(client: Stripe) -> None:
    """Stripe refuses it as an idempotency error: a failed attempt with a definite answer."""
    await create(client)
    with pytest.raises(Retry) as caught:
        await create(client, name="Another")
    assert isinstance(caught.value, StripeOutcome)
    assert caught.value.definite


@pytest.mark.parametrize("denial", ["revoked", "forbidden"])
async def test_a_denied_key_stops_everything_and_is_not_shown(client: Stripe, server: LocalStripe, denial: str) -> None:
    """401 and 403 raise an alarm; the message says what to do, and holds not even Stripe's redacted key."""
    if denial == "revoked":
        server.access.revoke(server.key)
    else:
        server.access.forbid(server.key, "rak_product_write")
    with pytest.raises(Unavailable, match=r"STRIPE_SECRET_KEY .* restart") as caught:
        await create(client)
    assert caught.value.alarm
    assert "sk_test" not in caught.value.reason
    assert server.key[-4:] not in caught.value.reason
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_nothing_shows_the_key(client: Stripe, server: LocalStripe) -> None:
    """Neither the client nor its settings print it."""
    shown = f"{client!r} {client.settings!r} {client.settings} {client.__dict__}"
    assert server.key not in shown


async def test_calls_are_counted_by_result(client: Stripe, server: LocalStripe) -> None:
    """Each request counts once, under what came of it."""

    def counted(result: str) -> float:
        labels = {"call": "product.create", "result": result}
        return REGISTRY.get_sample_value("hearken_stripe_calls_total", labels) or 0

    before = {result: counted(result) for result in ("ok", "down", "limited")}
    server.fault("error_503")
    server.fault("rate_limit")
    await create(client)
    assert {result: counted(result) - was for result, was in before.items()} == {"ok": 1, "down": 1, "limited": 1}


@asynccontextmanager
async def answering(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server that gives one answer to everything; yields its address."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("body", ["<html>Welcome to our café's network</html>", "[1]", "{}", "null", ""])
async def test_an_unreadable_answer_counts_as_none(server: LocalStripe, database: Database, body: str) -> None:
    """200 with something that is not Stripe's: retried as if unanswered, and its body is not repeated."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    async with (
        answering(answer) as url,
        open_stripe(stripe_settings(server, api_base=url), database) as client,
    ):
        with pytest.raises(Unavailable) as caught:
            await client.verify()
    assert "café" not in caught.value.reason


async def test_a_plain_500_that_stays_is_definite(server: LocalStripe, database: Database) -> None:
    """Without a word on whether it is remembered it is tried again, and in the end counts as remembered."""
    tries = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        return web.json_response({"error": {"type": "api_error", "message": "Sorry"}}, status=500)

    async with (
        answering(answer) as url,
        open_stripe(stripe_settings(server, api_base=url), database) as client,
    ):
        with pytest.raises(Unavailable, match="Sorry") as caught:
            await client.verify()
    assert isinstance(caught.value, StripeOutcome)
    assert caught.value.definite
    assert tries == 4


HALF_ANSWERS = [
    '{"object": "list", "has_more": false}',
    '{"object": "list", "data": []}',
    '{"object": "list", "data": [], "has_more": true}',
    '{"object": "list", "data": [], "has_more": "no"}',
    '{"object": "list", "data": [{"object": "product"}], "has_more": true}',
    '{"object": "list", "data": [{"object": "product", "id": "p"}], "has_more": true}',
    '{"object": "list", "data": null, "has_more": false}',
    '{"object": "product", "id": "p", "data": [], "has_more": false}',
]


@pytest.mark.parametrize("body", HALF_ANSWERS)
async def test_a_list_that_does_not_say_where_it_ends_is_no_list(
    server: LocalStripe, database: Database, body: str
) -> None:
    """An empty or short list would mean that the rest of the catalogue is gone."""

    async def answer(request: web.Request) -> web.Response:
        account = request.path.endswith("/account")
        return web.json_response(text='{"object": "account", "id": "acct_1"}' if account else body)

    async with answering(answer) as url, open_stripe(stripe_settings(server, api_base=url), database) as client:
        with pytest.raises(Unavailable, match="page of a list"):
            _ = [one async for one in client.list("product.list", client.api.products.list_async)]


@pytest.mark.parametrize("body", ['{"object": "product", "id": "other"}', '{"object": "product"}'])
async def test_an_answer_about_another_object_says_nothing_of_this_one(
    server: LocalStripe, database: Database, body: str
) -> None:
    """Neither that it is there, nor that it is deleted."""

    async def answer(request: web.Request) -> web.Response:
        account = request.path.endswith("/account")
        return web.json_response(text='{"object": "account", "id": "acct_1"}' if account else body)

    async with answering(answer) as url, open_stripe(stripe_settings(server, api_base=url), database) as client:
        with pytest.raises(Unavailable, match="another object"):
            await client.find("product.retrieve", client.api.products.retrieve_async, "wanted")
