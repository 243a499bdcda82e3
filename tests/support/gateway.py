"""What stands before PostgREST in a Supabase project: takes /rest/v1, asks for the key, and fails when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.support.postgrest import PostgRest

PREFIX = "/rest/v1/"


@dataclass(frozen=True)
class Call:
    """A request as it came in; `at` in the loop's seconds."""

    table: str
    query: dict[str, str]
    at: float


@dataclass
class Fault:
    """What is done to requests: each first waits `delay` seconds; `late`: so long lies the answer about.

    status, headers, body  answered instead of asking PostgREST
    drop        the connection is cut without an answer
    cut         half of the body comes, then the connection is cut
    uncounted   PostgREST is not asked to count
    times       for so many requests (None: all)
    """

    delay: float = 0.0
    late: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"code": "57014", "message": "a value of somebody\'s"}'
    drop: bool = False
    cut: bool = False
    uncounted: bool = False
    times: int | None = 1
    only: Callable[[Call], bool] = lambda _: True


class Gateway:
    """A running one. `calls` is what it was asked, `most_at_once` how many requests it had at the same time."""

    def __init__(self, upstream: PostgRest, session: aiohttp.ClientSession, delay: float) -> None:
        self.url = ""
        self.key = upstream.key
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.most_at_once = 0
        self.answers = 0
        self._now = 0
        self._upstream = upstream.url
        self._session = session
        self._delay = delay
        self._news = asyncio.Condition()
        self._patience = asyncio.Event()

    def fault(self, fault: Fault) -> None:
        """Add a fault; the first that fits a request is done to it."""
        self.faults.append(fault)

    def release(self) -> None:
        """Let nobody wait for a delay any more."""
        self._patience.set()

    async def asked(self, times: int) -> None:
        """Wait until there have been so many requests."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.calls) >= times)

    async def answered(self, times: int) -> None:
        """Wait until PostgREST has given so many answers, delivered or not."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: self.answers >= times)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        call = Call(request.path.removeprefix(PREFIX), dict(request.query), asyncio.get_running_loop().time())
        async with self._news:
            self.calls.append(call)
            self._news.notify_all()
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._answer(request, call, self._fault(call))
        finally:
            self._now -= 1

    def _fault(self, call: Call) -> Fault:
        fault = next((f for f in self.faults if f.only(call) and f.times != 0), Fault())
        if fault.times is not None:
            fault.times -= 1
        return fault

    async def _answer(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
        await self._lie(self._delay + fault.delay)
        if fault.drop:
            return self._hang_up(request)
        if fault.status is not None:
            return web.Response(status=fault.status, headers=fault.headers, text=fault.body)
        if request.headers.get("apikey") != self.key:
            return web.json_response({"message": "Invalid API key"}, status=401)
        headers = {"Authorization": request.headers.get("Authorization", "")}
        if not fault.uncounted and "Prefer" in request.headers:
            headers["Prefer"] = request.headers["Prefer"]
        address = f"{self._upstream}/{call.table}"
        async with self._session.get(address, params=request.rel_url.query, headers=headers) as found:
            body = await found.read()
        async with self._news:
            self.answers += 1
            self._news.notify_all()
        await self._lie(fault.late)
        about = {name: found.headers[name] for name in ("Content-Type", "Content-Range") if name in found.headers}
        if fault.cut:
            return await self._half(request, found.status, about, body)
        return web.Response(status=found.status, headers=about, body=body)

    async def _lie(self, seconds: float) -> None:
        if seconds:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._patience.wait(), seconds)

    @staticmethod
    def _hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def _half(
        self, request: web.Request, status: int, headers: dict[str, str], body: bytes
    ) -> web.StreamResponse:
        answer = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
        await answer.prepare(request)
        await answer.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return answer


@asynccontextmanager
async def gateway(upstream: PostgRest, *, delay: float = 0.0) -> AsyncIterator[Gateway]:
    """A gateway in front of PostgREST, which takes `delay` seconds more for each answer."""
    async with aiohttp.ClientSession() as session:
        running = Gateway(upstream, session, delay)
        app = web.Application()
        app.router.add_get(PREFIX + "{table}", running.answer)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        running.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield running
        finally:
            await runner.cleanup()
