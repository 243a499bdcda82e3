"""The HTTP side: reads a request, asks the desk, and sends the answer, or fails to, as a fault wants it."""

from __future__ import annotations

import asyncio

from aiohttp import web

from handlers.stripe.local.desk import Desk
from handlers.stripe.local.errors import Refusal
from handlers.stripe.local.faults import Fault
from handlers.stripe.local.forms import parse_form
from handlers.stripe.local.idempotency import StoredAnswer

API_VERSION = "2026-10-28.endive"
"""The version of an account that sends none; stripe 16 sends this one."""

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_LOOK_EVERY = 0.02


class HttpDelivery:
    """Serves every path under `/v1`; `closing` ends the requests that are never answered."""

    def __init__(self, desk: Desk, closing: asyncio.Event) -> None:
        self._desk = desk
        self._closing = closing

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        desk, path, key = self._desk, request.rel_url.raw_path, request.headers.get("Idempotency-Key")
        text = await request.text() if request.method == "POST" else request.query_string
        try:
            form, malformed = parse_form(text), None
        except Refusal as refusal:
            form, malformed = {}, refusal
        fault = desk.faults.take(request.method, path)
        call = desk.open_call(request.method, path, form, key, fault)
        if fault and fault.before:
            return await self._never_reached(request, fault)
        if malformed:
            answer = desk.refuse(call, malformed)
        else:
            answer = await desk.answer(call, request.headers.get("Authorization"), fault)
        response = _response(request, answer, key)
        return await self._delivered(request, response, answer, fault) if fault else response

    async def _never_reached(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.kind == "bad_gateway":
            return web.Response(status=502, body=_HTML, content_type="text/html")
        if fault.kind == "timeout":
            await self._client_gone(request)
        elif request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _delivered(
        self, request: web.Request, response: web.Response, answer: StoredAnswer, fault: Fault
    ) -> web.StreamResponse:
        if fault.kind == "timeout":
            await self._client_gone(request)
        elif fault.kind == "lost_reply" and request.transport is not None:
            request.transport.close()
        elif fault.kind == "cut_body":
            return await _cut(request, response, answer.body)
        return response

    async def _client_gone(self, request: web.Request) -> None:
        while request.transport is not None and not request.transport.is_closing():
            if self._closing.is_set():
                request.transport.abort()
            await asyncio.sleep(_LOOK_EVERY)  # aiohttp tells a handler only by cancelling it


async def _cut(request: web.Request, whole: web.Response, body: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _response(request: web.Request, answer: StoredAnswer, key: str | None) -> web.Response:
    headers = {
        "Request-Id": answer.request_id,
        "Stripe-Version": request.headers.get("Stripe-Version", API_VERSION),
    }
    if key and request.method == "POST":
        headers |= {"Idempotency-Key": key, "Original-Request": answer.request_id}
    headers |= answer.headers
    return web.Response(status=answer.status, body=answer.body, headers=headers, content_type="application/json")
