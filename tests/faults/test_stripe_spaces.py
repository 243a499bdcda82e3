"""Promise: whichever request to Stripe goes wrong, and however, the catalogue ends as the table, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from handlers.stripe.local import Call, Gate
from tests.support.shop import Shop, open_shop

IMPATIENT = 0.15
"""Seconds until the client gives up on an answer."""

FAULTS: dict[str, dict[str, Any]] = {
    "no answer, applied": {"kind": "lost_reply"},
    "half an answer": {"kind": "cut_body"},
    "500, not applied, remembered": {"kind": "error_500_before"},
    "500, applied, remembered": {"kind": "error_500_after"},
    "503": {"kind": "error_503"},
    "503 for long": {"kind": "error_503", "times": 5},
    "a proxy's 502": {"kind": "bad_gateway"},
    "409 in use": {"kind": "in_use"},
    "409 in use for long": {"kind": "in_use", "times": 5},
    "409 locked": {"kind": "lock_timeout", "status": 409},
    "429 locked": {"kind": "lock_timeout", "status": 429},
    "429": {"kind": "rate_limit"},
    "429 for long": {"kind": "rate_limit", "times": 5},
    "429 with Retry-After": {"kind": "rate_limit", "retry_after": 0.01},
    "connection reset": {"kind": "reset"},
    "timeout, applied": {"kind": "timeout", "apply": True},
    "timeout, not applied": {"kind": "timeout", "apply": False},
}


@dataclass(frozen=True)
class Scenario:
    """Something that happens to a space: `before` without faults, `act` and its delivery under them.

    made: how many prices the space has had in the end, archived ones included.
    """

    before: Callable[[Shop], Awaitable[int]]
    act: Callable[[Shop, int], Awaitable[Any]]
    amount: int | None
    made: int


async def _new(shop: Shop) -> int:
    return await shop.put()


async def _listed(shop: Shop) -> int:
    key = await shop.put()
    await shop.settle(key)
    return key


async def _unlisted(shop: Shop) -> int:
    key = await _listed(shop)
    await shop.put(key, is_active=False, price_per_hour="30")
    await shop.settle(key)
    return key


async def _back_and_forth(shop: Shop) -> int:
    key = await _listed(shop)
    await shop.put(key, price_per_hour="30", name="New name")
    await shop.settle(key)
    return key


async def _nothing(shop: Shop, key: int) -> None:
    return None


async def _dearer(shop: Shop, key: int) -> None:
    await shop.put(key, price_per_hour="30", name="New name")


async def _cheaper_again(shop: Shop, key: int) -> None:
    await shop.put(key, price_per_hour="25", name="Test Space")


async def _gone(shop: Shop, key: int) -> dict[str, Any]:
    return await shop.remove(key)


async def _back(shop: Shop, key: int) -> None:
    await shop.put(key, is_active=True)


SCENARIOS = {
    "create": Scenario(_new, _nothing, amount=2500, made=1),
    "new price": Scenario(_listed, _dearer, amount=3000, made=2),
    "former price": Scenario(_back_and_forth, _cheaper_again, amount=2500, made=3),
    "archive": Scenario(_listed, _gone, amount=None, made=1),
    "reactivate": Scenario(_unlisted, _back, amount=3000, made=2),
}


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    """A shop whose client does not wait long."""
    async with open_shop(database_url, timeout=IMPATIENT) as shop:
        yield shop


def of_space(things: list[dict[str, Any]], key: int) -> list[dict[str, Any]]:
    return [t for t in things if f"space_{key}" in (t["id"], t.get("product"))]


async def check(shop: Shop, key: int, scenario: Scenario, old: dict[str, Any] | None) -> None:
    """The catalogue is as the table says, nothing was made twice, and there is nothing left to write."""
    prices = of_space(shop.prices(), key)
    assert len(prices) == 1
    assert len(prices + of_space(shop.prices(active=False), key)) == scenario.made
    products = of_space(shop.products(active=scenario.amount is not None), key)
    assert len(products) == 1
    row = await shop.row(key)
    if scenario.amount is None:
        assert row is None
    else:
        assert row is not None
        assert (prices[0]["unit_amount"], prices[0]["lookup_key"]) == (scenario.amount, f"space_{key}")
        assert products[0]["default_price"] == prices[0]["id"] == row["stripe_price_id"]
        assert products[0]["name"] == row["name"]
        assert products[0]["id"] == row["stripe_product_id"]
    shop.server.calls.clear()
    await shop.sync(key, "delete" if old else "update", old)
    assert shop.writes() == []


async def deliver(shop: Shop, key: int, old: dict[str, Any] | None) -> None:
    await shop.settle(key, "delete" if old else "update", old)


async def killed(delivery: Coroutine[Any, Any, None], gate: Gate) -> None:
    """Start a delivery and end it where the gate holds its request; Stripe goes on with that request."""
    running = asyncio.create_task(delivery)
    await gate.reached
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    gate.release()


async def undisturbed(shop: Shop, scenario: Scenario) -> list[Call]:
    """The requests that the scenario takes when nothing goes wrong; one that was merely slow counts once."""
    key = await scenario.before(shop)
    old = await scenario.act(shop, key)
    shop.server.calls.clear()
    await deliver(shop, key, old)
    return list({call.idempotency_key or call.request_id: call for call in shop.server.calls}.values())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", SCENARIOS)
async def test_any_request_may_fail_in_any_way(shop: Shop, what: str, fault: str) -> None:
    """One fault at one request, for each request of the scenario in turn: the end is always the same."""
    scenario = SCENARIOS[what]
    calls = await undisturbed(shop, scenario)
    assert len(calls) > 1
    for nth, _ in enumerate(calls, 1):
        key = await scenario.before(shop)
        old = await scenario.act(shop, key)
        shop.server.fault(**FAULTS[fault], nth=nth)
        await deliver(shop, key, old)
        shop.server.clear_faults()
        await check(shop, key, scenario, old)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("what", SCENARIOS)
async def test_a_worker_killed_at_any_write_leaves_nothing_behind(shop: Shop, what: str, applied: bool) -> None:
    """Cut off before Stripe has done the write, or between its answer and our record of it: the next run completes."""
    scenario = SCENARIOS[what]
    writes = [call for call in await undisturbed(shop, scenario) if call.method == "POST"]
    for nth, _ in enumerate(writes, 1):
        key = await scenario.before(shop)
        old = await scenario.act(shop, key)
        gate = shop.server.hold("POST", "/v1/*", applied=applied, nth=nth)
        await killed(deliver(shop, key, old), gate)
        await deliver(shop, key, old)
        await check(shop, key, scenario, old)


async def test_every_write_may_lose_its_reply(shop: Shop) -> None:
    """Not one fault but all of them: each first answer is lost, and still nothing is made twice."""
    scenario = SCENARIOS["create"]
    key = await scenario.before(shop)
    for nth in range(1, 12, 2):
        shop.server.fault("lost_reply", "POST", nth=nth)
    await deliver(shop, key, None)
    shop.server.clear_faults()
    await check(shop, key, scenario, None)


async def test_an_answer_never_read_does_not_poison_a_later_change_to_the_same_price(shop: Shop) -> None:
    """25 is made but its answer never read, 30 likewise: the next 25 is made, not read from Stripe's memory."""
    key = await shop.put()
    for amount in ("25", "30", "25", "30", "25"):
        await shop.put(key, price_per_hour=amount)
        await killed(deliver(shop, key, None), shop.server.hold("POST", "/v1/prices"))
        await deliver(shop, key, None)
        (price,), (product,) = shop.prices(), shop.products()
        assert (price["unit_amount"], price["id"]) == (int(amount) * 100, product["default_price"])


async def test_an_answer_never_read_does_not_poison_a_later_change_to_the_same_name(shop: Shop) -> None:
    """As with prices: A → B → A → B, each killed before its answer was read."""
    key = await shop.put()
    await deliver(shop, key, None)
    for name in ("A", "B", "A", "B"):
        await shop.put(key, name=name)
        await killed(deliver(shop, key, None), shop.server.hold("POST", "/v1/products/*"))
        await deliver(shop, key, None)
        (product,) = shop.products()
        assert product["name"] == name
