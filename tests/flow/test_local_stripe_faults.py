"""The local Stripe fails on demand, in every way Stripe and the network between can fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import stripe

from handlers.stripe.local import FaultKind, LocalStripe
from tests.support.local_stripe import Reply, sdk, send


@pytest.fixture
async def server() -> AsyncIterator[LocalStripe]:
    """A Stripe account of the test's own."""
    async with LocalStripe() as server:
        yield server


@pytest.fixture
async def api(server: LocalStripe) -> AsyncIterator[stripe.V1Services]:
    """The official async client on it."""
    async with sdk(server) as services:
        yield services


async def _create(api: stripe.V1Services, key: str = "k") -> stripe.Product:
    return await api.products.create_async({"id": "p", "name": "N"}, {"idempotency_key": key})


async def _send(server: LocalStripe, key: str = "k") -> Reply:
    return await send(server, "POST", "/v1/products", {"id": "p", "name": "N"}, {"Idempotency-Key": key})


@pytest.mark.parametrize("kind", ["lost_reply", "cut_body"])
async def test_a_lost_answer_was_applied(server: LocalStripe, api: stripe.V1Services, kind: FaultKind) -> None:
    """The client sees a broken connection; with the same key it then gets the answer that was lost."""
    server.fault(kind, "POST", "/v1/products")
    with pytest.raises((stripe.APIConnectionError, aiohttp.ClientPayloadError)):
        await _create(api)
    assert "p" in server.store.products
    assert (await _create(api)).id == "p"
    assert [(call.status, call.fault, call.replayed) for call in server.calls] == [
        (200, kind, False),
        (200, None, True),
    ]


async def test_a_reset_was_not_applied(server: LocalStripe, api: stripe.V1Services) -> None:
    """The connection breaks before the endpoint sees anything, so a repeat does the work."""
    server.fault("reset")
    with pytest.raises(stripe.APIConnectionError):
        await _create(api)
    assert "p" not in server.store.products
    assert (await _create(api)).id == "p"


@pytest.mark.parametrize(("kind", "applied"), [("error_500_before", False), ("error_500_after", True)])
async def test_a_500_is_remembered(server: LocalStripe, kind: FaultKind, applied: bool) -> None:
    """Applied or not, the key repeats the 500; only a new key finds out."""
    server.fault(kind)
    first, again = await _send(server), await _send(server)
    assert (first.status, again.status, first.body == again.body) == (500, 500, True)
    assert (first.body["error"]["type"], first.headers["Stripe-Should-Retry"]) == ("api_error", "false")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert ("p" in server.store.products) is applied
    assert (await _send(server, "new")).status == (400 if applied else 200)


@pytest.mark.parametrize(
    ("kind", "details", "status", "code", "headers"),
    [
        ("error_503", {}, 503, None, {}),
        (
            "rate_limit",
            {},
            429,
            "rate_limit",
            {"Retry-After": None, "Stripe-Rate-Limited-Reason": "global-rate"},
        ),
        ("rate_limit", {"retry_after": 3}, 429, "rate_limit", {"Retry-After": "3"}),
        ("lock_timeout", {}, 429, "lock_timeout", {"Stripe-Should-Retry": "true"}),
        ("lock_timeout", {"status": 409}, 409, "lock_timeout", {}),
        ("in_use", {}, 409, "idempotency_key_in_use", {}),
        ("unauthorized", {}, 401, None, {}),
        ("forbidden", {}, 403, None, {}),
    ],
)
async def test_a_refusal_on_demand_changes_nothing(
    server: LocalStripe,
    kind: FaultKind,
    details: dict[str, Any],
    status: int,
    code: str | None,
    headers: dict[str, str | None],
) -> None:
    """Status, code and headers are those of Stripe, and the same key works afterwards."""
    server.fault(kind, **details)
    reply = await _send(server)
    assert (reply.status, reply.body["error"].get("code")) == (status, code)
    assert {name: reply.headers.get(name) for name in headers} == headers
    assert len(server.store.products) == 0
    assert (await _send(server)).status == 200


async def test_a_proxy_may_answer_in_html(server: LocalStripe, api: stripe.V1Services) -> None:
    """A 502 whose body is no JSON reaches the client as such."""
    server.fault("bad_gateway")
    with pytest.raises(stripe.APIError) as failure:
        await _create(api)
    assert failure.value.http_status == 502


@pytest.mark.parametrize("apply", [True, False])
async def test_no_answer_until_the_client_leaves(server: LocalStripe, apply: bool) -> None:
    """The request hangs, with its work done or not, and the server is well afterwards."""
    server.fault("timeout", apply=apply)
    async with sdk(server, patience=0.2) as impatient:
        with pytest.raises((stripe.APIConnectionError, TimeoutError)):
            await _create(impatient)
    assert ("p" in server.store.products) is apply
    assert (await _send(server)).status == 200


async def test_a_server_ends_although_a_request_is_never_answered() -> None:
    """Closing does not wait for a client that waits for ever."""
    async with LocalStripe() as server:
        server.fault("timeout")
        request = asyncio.create_task(_send(server))
        await server.wait_for(lambda calls: calls and calls[0].status)
    with pytest.raises(aiohttp.ClientConnectionError):
        await request


async def test_a_slow_request_holds_its_key(server: LocalStripe) -> None:
    """While Stripe still works on a request, its key is in use."""
    server.fault("delay", seconds=0.2)
    slow = asyncio.create_task(_send(server))
    await server.wait_for(lambda calls: len(calls) == 1)
    assert (await _send(server)).status == 409
    assert (await slow).status == 200


async def test_a_fault_strikes_where_it_is_aimed(server: LocalStripe, api: stripe.V1Services) -> None:
    """Method, path, the nth match and the number of times decide; faults asked for later wait their turn."""
    server.fault("error_503", "POST", "/v1/prices*", nth=2, times=2)
    server.fault("rate_limit", "GET")
    statuses = [
        (await send(server, "POST", "/v1/prices", {"product": "none", "currency": "eur", "unit_amount": "1"})).status
        for _ in range(4)
    ]
    assert statuses == [400, 503, 503, 400]
    assert (await send(server, "POST", "/v1/products", {"name": "N"})).status == 200
    assert [(await send(server, "GET", "/v1/account")).status for _ in range(2)] == [429, 200]
    server.fault("error_503", times=None)
    assert [(await send(server, "GET", "/v1/account")).status for _ in range(3)] == [503] * 3
    server.clear_faults()
    assert (await api.accounts.retrieve_current_async()).id == server.account


async def test_a_gate_holds_the_answer_of_work_that_is_done(server: LocalStripe, api: stripe.V1Services) -> None:
    """The moment between Stripe's commit and the client's: what a killed worker leaves behind."""
    gate = server.hold("POST", "/v1/products")
    request = asyncio.create_task(_create(api))
    call = await gate.reached
    assert (call.path, call.status, "p" in server.store.products) == ("/v1/products", 200, True)
    assert not request.done()
    gate.release()
    assert (await request).id == "p"


async def test_a_client_killed_at_a_gate_finds_its_work_done(server: LocalStripe) -> None:
    """Another client with the same key gets the answer the first one never read."""
    gate = server.hold("POST", "/v1/products")
    killed = asyncio.create_task(_send(server))
    await gate.reached
    killed.cancel()
    reply = await _send(server)
    assert (reply.status, reply.headers["Idempotent-Replayed"]) == (200, "true")
    gate.release()


async def test_waiting_for_a_call_ends_in_time_and_tells_its_own_mistakes(server: LocalStripe) -> None:
    """A condition that stays false times out; one that raises does so where it is awaited."""
    with pytest.raises(TimeoutError):
        await server.wait_for(lambda calls: False, within=0.01)
    waiting = asyncio.create_task(server.wait_for(lambda calls: calls and calls[7]))
    assert (await _send(server)).status == 200
    with pytest.raises(IndexError):
        await waiting


async def test_the_rate_limit_refuses_what_is_above_it(server: LocalStripe) -> None:
    """A burst of ten passes a limit of ten, the eleventh gets 429 at once and is not remembered."""
    server.limit_rate(10, retry_after=0.5)
    replies = [await send(server, "GET", "/v1/account") for _ in range(10)]
    assert {reply.status for reply in replies} == {200}
    refused = await _send(server)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "0.5")
    server.limit_rate(None)
    assert (await _send(server)).status == 200


async def test_another_process_can_ask_for_faults_and_see_the_state(server: LocalStripe) -> None:
    """The `/_local` addresses do what the object does, and never show the key."""
    wish = {"kind": "rate_limit", "method": "POST", "path": "/v1/products", "times": 2, "retry_after": 1}
    async with aiohttp.ClientSession(server.url) as session:
        async with session.post("/_local/faults", json=wish) as asked:
            assert (asked.status, await asked.json()) == (200, {"coming": 1})
        assert (await _send(server)).status == 429
        async with session.delete("/_local/faults"):
            assert (await _send(server)).status == 200
        for wrong in ({"kind": "fire"}, {"kind": "reset", "colour": "red"}, {}):
            async with session.post("/_local/faults", json=wrong) as refused:
                assert refused.status == 400
        async with session.get("/_local/state") as shown:
            state = await shown.json()
            assert server.key not in await shown.text()
    assert [product["id"] for product in state["products"]] == ["p"]
    assert [call["status"] for call in state["calls"]] == [429, 200]
    assert state["calls"][0]["idempotency_key"] == "k"
