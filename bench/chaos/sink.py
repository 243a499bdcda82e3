"""The sink: an HTTP server in a process of its own, which numbers its orders. Ends with whoever started it.

POST /orders      takes an order, after a few milliseconds
GET  /orders      all of them, in the order in which they came
GET  /events      how many events there are orders of
GET  /first/KEY   answers as soon as there is an order of that parcel
GET  /busy        the processes that have an order under way, or had one a moment ago
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

TAKES = 0.003
MOMENT = 0.25


class Orders:
    """What has come, and who is at it."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.seen: set[int] = set()
        self.parcels: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.under_way: Counter[int] = Counter()
        self.latest: dict[int, float] = {}

    async def take(self, request: web.Request) -> web.Response:
        """Number an order. It counts from when it came, whatever becomes of who sent it."""
        order = await request.json()
        self.taken.append(order)
        self.seen.add(order["event"])
        if order["topic"] == "public.parcels":
            self.parcels[order["key"]].set()
        self.under_way[order["pid"]] += 1
        try:
            await asyncio.sleep(TAKES)
        finally:
            self.under_way[order["pid"]] -= 1
            self.latest[order["pid"]] = time.monotonic()
        return web.json_response({"number": len(self.taken)})

    async def all(self, request: web.Request) -> web.Response:
        """Every order."""
        return web.json_response(self.taken)

    async def events(self, request: web.Request) -> web.Response:
        """How many events."""
        return web.json_response(len(self.seen))

    async def first(self, request: web.Request) -> web.Response:
        """Wait for one of this parcel."""
        await self.parcels[request.match_info["key"]].wait()
        return web.Response()

    async def busy(self, request: web.Request) -> web.Response:
        """Who works."""
        now = time.monotonic()
        late = {pid for pid, at in self.latest.items() if now - at < MOMENT}
        return web.json_response(sorted(late | {pid for pid, count in self.under_way.items() if count}))


async def serve() -> None:
    """Serve until the end of standard input; says its port first."""
    orders = Orders()
    app = web.Application()
    app.add_routes(
        [
            web.post("/orders", orders.take),
            web.get("/orders", orders.all),
            web.get("/events", orders.events),
            web.get("/first/{key}", orders.first),
            web.get("/busy", orders.busy),
        ]
    )
    runner = web.AppRunner(app, handler_cancellation=False, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


class Sink:
    """The harness's side."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.port = port
        self._session = session

    async def orders(self) -> list[dict[str, Any]]:
        """All that came."""
        return list(await self._get("orders"))

    async def events(self) -> int:
        """How many events there are orders of."""
        return int(await self._get("events"))

    async def is_busy(self, pid: int) -> bool:
        """Whether that process is at work."""
        return pid in await self._get("busy")

    async def wait_for(self, parcel: int) -> None:
        """Wait until there is an order of it."""
        async with self._session.get(f"http://127.0.0.1:{self.port}/first/{parcel}") as answer:
            answer.raise_for_status()

    async def _get(self, path: str) -> Any:
        async with self._session.get(f"http://127.0.0.1:{self.port}/{path}") as answer:
            return json.loads(await answer.read())


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """One, while the context lasts."""
    command = [sys.executable, "-m", "bench.chaos.sink"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
            yield Sink(port, session)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


if __name__ == "__main__":
    asyncio.run(serve())
