"""The local Stripe refuses as Stripe does: wrong parameters, unknown things, and keys that may not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
import stripe

from handlers.stripe.local import LocalStripe
from tests.support.local_stripe import sdk, send


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


@pytest.mark.parametrize(
    ("path", "form", "code", "param", "message"),
    [
        ("/v1/products", {}, "parameter_missing", "name", "Missing required param: name."),
        (
            "/v1/products",
            {"name": ""},
            "parameter_invalid_empty",
            "name",
            "You passed an empty string for 'name'.",
        ),
        (
            "/v1/products",
            {"name": "N", "colour": "x"},
            "parameter_unknown",
            "colour",
            "unknown parameter: colour",
        ),
        ("/v1/products", {"name": "N", "active": "yes"}, None, "active", "Invalid boolean: yes"),
        ("/v1/products", {"name": "N", "metadata[a]": "x" * 501}, None, "metadata", "up to 500 characters"),
        ("/v1/products", {"name": "N", "tax_details[x]": "1"}, None, "tax_details", "does not implement"),
        (
            "/v1/prices",
            {"currency": "eur", "unit_amount": "1"},
            "parameter_missing",
            "product",
            "`product_data`",
        ),
        ("/v1/prices", {"product": "p", "unit_amount": "1"}, "parameter_missing", "currency", "currency."),
        (
            "/v1/prices",
            {"product": "p", "currency": "eur"},
            None,
            "unit_amount",
            "Prices require an `unit_amount`",
        ),
        (
            "/v1/prices",
            {"product": "p", "currency": "eur", "unit_amount": "12.5"},
            "parameter_invalid_integer",
            "unit_amount",
            "Invalid integer: 12.5",
        ),
        (
            "/v1/prices",
            {"product": "p", "currency": "eur", "unit_amount": "-1"},
            "parameter_invalid_integer",
            "unit_amount",
            "greater than or equal to 0",
        ),
        (
            "/v1/prices",
            {"product": "p", "currency": "xyz", "unit_amount": "1"},
            None,
            "currency",
            "Invalid currency",
        ),
        (
            "/v1/prices",
            {"product": "none", "currency": "eur", "unit_amount": "1"},
            "resource_missing",
            "product",
            "No such product: 'none'",
        ),
        ("/v1/products/p", {"id": "q"}, "parameter_unknown", "id", "Received unknown parameter: id"),
    ],
)
async def test_a_wrong_parameter_is_refused_in_stripes_words(
    server: LocalStripe, path: str, form: dict[str, str], code: str | None, param: str, message: str
) -> None:
    """Each refusal is a 400 with the code and the param a client acts upon, and changes nothing."""
    await send(server, "POST", "/v1/products", {"id": "p", "name": "N"})
    reply = await send(server, "POST", path, form)
    error = reply.body["error"]
    assert (reply.status, error["type"], error.get("code"), error["param"]) == (
        400,
        "invalid_request_error",
        code,
        param,
    )
    assert message in error["message"]
    assert error["request_log_url"].endswith(reply.headers["Request-Id"])
    assert (len(server.store.products), len(server.store.prices)) == (1, 0)


async def test_an_amount_never_changes(server: LocalStripe, api: stripe.V1Services) -> None:
    """A price's amount, currency and product are not parameters of its update."""
    await api.products.create_async({"id": "p", "name": "N"})
    price = await api.prices.create_async({"product": "p", "currency": "eur", "unit_amount": 2500})
    reply = await send(server, "POST", f"/v1/prices/{price.id}", {"unit_amount": "1", "currency": "usd"})
    assert reply.body["error"]["message"] == "Received unknown parameters: unit_amount, currency"
    assert server.store.prices[price.id]["unit_amount"] == 2500


async def test_what_is_not_there_is_a_404(server: LocalStripe) -> None:
    """Unknown objects and unknown addresses, in Stripe's words; prices cannot be deleted at all."""
    missing = await send(server, "GET", "/v1/prices/price_none")
    assert (missing.status, missing.body["error"]["code"]) == (404, "resource_missing")
    assert (await send(server, "POST", "/v1/products/none", {"name": "N"})).status == 404
    for method, path in (("GET", "/v1/customers"), ("DELETE", "/v1/prices/x"), ("GET", "/v1/products/a/b")):
        reply = await send(server, method, path)
        assert (reply.status, "code" in reply.body["error"]) == (404, False), path


async def test_odd_names_and_ids_are_read_as_sent(server: LocalStripe) -> None:
    """An id may need percent-encoding; a name with unbalanced brackets is refused, not guessed at."""
    odd = await send(server, "POST", "/v1/products", {"id": "a/b é", "name": "N & M=1"})
    assert (await send(server, "GET", "/v1/products/a%2Fb%20%C3%A9")).body == odd.body
    for name in ("metadata[a", "name[x]", "metadata[a][b]"):
        assert (await send(server, "POST", "/v1/products", {"name": "N", name: "1"})).status == 400, name
    assert len(server.store.products) == 1


async def test_keys_decide_who_one_is_and_in_which_mode(server: LocalStripe, api: stripe.V1Services) -> None:
    """The account and its mode follow from the key; objects of one mode are not in the other."""
    assert (await api.accounts.retrieve_current_async()).id == server.account
    assert not (await api.balance.retrieve_async()).livemode
    await api.products.create_async({"id": "p", "name": "N"})
    async with sdk(server, server.access.issue("sk_live_")) as live:
        assert (await live.accounts.retrieve_current_async()).id == server.account
        assert (await live.balance.retrieve_async()).livemode
        assert (await live.products.create_async({"id": "q", "name": "N"})).livemode
        with pytest.raises(stripe.InvalidRequestError, match="a similar object exists in test mode"):
            await live.products.retrieve_async("p")


async def test_wrong_keys_are_refused_without_being_shown(server: LocalStripe) -> None:
    """Missing, unknown, revoked and publishable keys, and a key that lacks a permission."""
    revoked, reader = server.access.issue(), server.access.issue("rk_test_")
    server.access.revoke(revoked)
    server.access.forbid(reader, "rak_price_write")
    basic = aiohttp.encode_basic_auth(server.key)
    assert (await send(server, "GET", "/v1/account", headers={"Authorization": basic})).status == 200
    for header, status, code, words in (
        ("", 401, None, "You did not provide an API key"),
        ("Bearer sk_test_wrong_0123456789", 401, None, "Invalid API Key provided: sk_test_"),
        (f"Bearer {revoked}", 401, "api_key_expired", "Expired API Key provided: sk_test_"),
        ("Bearer pk_test_0123456789", 403, "secret_key_required", "publishable"),
        (f"Bearer {reader}", 403, None, "Having the 'rak_price_write' permission"),
    ):
        reply = await send(server, "POST", "/v1/prices", headers={"Authorization": header})
        assert (reply.status, reply.body["error"].get("code")) == (status, code), words
        assert words in reply.body["error"]["message"]
        assert header.removeprefix("Bearer ") not in reply.body["error"]["message"] or not header
    assert (await send(server, "GET", "/v1/prices", headers={"Authorization": f"Bearer {reader}"})).status == 200
    assert revoked not in str(server.state())


async def test_any_well_formed_key_is_let_in_when_asked_for() -> None:
    """`accept_any_key` is for demonstrations; it still wants a secret key."""
    async with LocalStripe(accept_any_key=True, account="acct_mine") as server:
        mine = {"Authorization": "Bearer sk_test_of_somebody"}
        assert (await send(server, "GET", "/v1/account", headers=mine)).body["id"] == "acct_mine"
        assert (await send(server, "GET", "/v1/account", headers={"Authorization": "Bearer x"})).status == 401
