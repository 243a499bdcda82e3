"""Idempotency keys work as Stripe documents: the same answer or a clear refusal, never a second object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from handlers.stripe.local import LocalStripe
from tests.support.local_stripe import Reply, send


@pytest.fixture
async def server() -> AsyncIterator[LocalStripe]:
    """A Stripe account of the test's own."""
    async with LocalStripe() as server:
        yield server


async def _create(server: LocalStripe, key: str, **form: str) -> Reply:
    return await send(server, "POST", "/v1/products", {"name": "N", **form}, {"Idempotency-Key": key})


async def test_the_same_request_gets_the_same_answer(server: LocalStripe) -> None:
    """A replay is marked, names the first request, and makes nothing."""
    first, again = await _create(server, "k"), await _create(server, "k")
    assert (again.status, again.body) == (200, first.body)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"] != again.headers["Request-Id"]
    assert len(server.store.products) == 1
    assert [call.replayed for call in server.calls] == [False, True]


async def test_a_key_is_for_one_request_only(server: LocalStripe) -> None:
    """Other parameters, or another address, are an idempotency_error that names the key."""
    await _create(server, "k")
    changed = await _create(server, "k", description="D")
    assert (changed.status, changed.body["error"]["type"]) == (400, "idempotency_error")
    assert "same parameters" in changed.body["error"]["message"]
    assert "Try using a key other than 'k'" in changed.body["error"]["message"]
    elsewhere = await send(server, "POST", "/v1/products/x", {"name": "N"}, {"Idempotency-Key": "k"})
    assert "('/v1/products/x' vs '/v1/products')" in elsewhere.body["error"]["message"]


async def test_a_key_whose_request_goes_on_is_in_use(server: LocalStripe) -> None:
    """The second of two simultaneous requests gets 409, and leaves the first alone."""
    gate = server.hold("POST", "/v1/products", applied=False)
    first = asyncio.create_task(_create(server, "k"))
    await gate.reached
    second = await _create(server, "k")
    assert (second.status, second.body["error"]["code"]) == (409, "idempotency_key_in_use")
    gate.release()
    assert (await first).status == 200
    assert (await _create(server, "k")).body == (await first).body


async def test_a_refusal_of_an_endpoint_is_remembered(server: LocalStripe) -> None:
    """A 400 that comes from what is in the catalogue is replayed even after the catalogue has changed."""
    await _create(server, "first", id="p")
    refused = await _create(server, "k", id="p")
    assert (refused.status, refused.headers["Stripe-Should-Retry"]) == (400, "false")
    await send(server, "DELETE", "/v1/products/p")
    assert (await _create(server, "k", id="p")).body == refused.body
    assert (await _create(server, "other", id="p")).status == 200


async def test_what_never_began_leaves_the_key_unused(server: LocalStripe) -> None:
    """After a failed validation, a 401, a 429 and a 409 the same key works."""
    assert (await send(server, "POST", "/v1/products", {}, {"Idempotency-Key": "k"})).status == 400
    for kind, status in (
        ("unauthorized", 401),
        ("rate_limit", 429),
        ("lock_timeout", 429),
        ("error_503", 503),
    ):
        server.fault(kind)  # type: ignore[arg-type]
        assert (await _create(server, "k")).status == status
    made = await _create(server, "k")
    assert (made.status, "Idempotent-Replayed" in made.headers) == (200, False)


async def test_a_key_is_forgotten_after_a_day() -> None:
    """Within 24 hours it replays, after them it is a new request."""
    now = [0.0]
    async with LocalStripe(clock=lambda: now[0]) as server:
        first = await _create(server, "k")
        now[0] += 24 * 3600 - 1
        assert (await _create(server, "k")).body == first.body
        now[0] += 1
        assert (await _create(server, "k")).body != first.body


async def test_keys_of_the_two_modes_are_apart(server: LocalStripe) -> None:
    """The same key in live mode is another key."""
    live = {"Authorization": f"Bearer {server.access.issue('sk_live_')}", "Idempotency-Key": "k"}
    test = await _create(server, "k")
    other = await send(server, "POST", "/v1/products", {"name": "N"}, live)
    assert (other.status, other.body["livemode"], other.body["id"] != test.body["id"]) == (200, True, True)


async def test_a_key_is_at_most_255_characters(server: LocalStripe) -> None:
    """One more is refused before anything is done."""
    assert (await _create(server, "k" * 255)).status == 200
    assert (await _create(server, "k" * 256)).status == 400
    assert len(server.store.products) == 1
