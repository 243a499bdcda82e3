"""Clients of the local Stripe: the official SDK, as an outside program would use it, and bare HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
import stripe

from handlers.stripe.local import LocalStripe


@asynccontextmanager
async def sdk(server: LocalStripe, key: str | None = None, patience: float = 5.0) -> AsyncIterator[stripe.V1Services]:
    """The v1 services of an official client that never retries by itself; `patience` is in seconds."""
    http = stripe.AIOHTTPClient(timeout=patience)
    client = stripe.StripeClient(
        key or server.key, base_addresses={"api": server.url}, http_client=http, max_network_retries=0
    )
    try:
        yield client.v1
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Reply:
    """What came back: the status, the headers, and the JSON body."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


async def send(
    server: LocalStripe,
    method: str,
    path: str,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request with the server's key, unless `headers` say otherwise; `form` has bracketed names."""
    sent = {"Authorization": f"Bearer {server.key}", **(headers or {})}
    form_text = urlencode(form or {})
    url = f"{server.url}{path}?{form_text}" if method == "GET" else f"{server.url}{path}"
    data = None if method == "GET" else form_text
    content = {"Content-Type": "application/x-www-form-urlencoded"}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=data, headers=content | sent) as response,
    ):
        return Reply(response.status, response.headers, await response.json())
