"""`LocalStripe`: the server object that tests and `hearken dev` start, look into and steer.

It listens on the loopback interface only. Requests go delivery → desk → endpoints → store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from handlers.stripe.local import admin
from handlers.stripe.local.access import Access
from handlers.stripe.local.calls import Call, Calls
from handlers.stripe.local.delivery import HttpDelivery
from handlers.stripe.local.desk import Desk, Side
from handlers.stripe.local.faults import Aim, Fault, FaultKind
from handlers.stripe.local.gates import Gate
from handlers.stripe.local.limits import RequestLimit
from handlers.stripe.local.state_file import Saver, read_state
from handlers.stripe.local.store import Store, new_id

HOST = "127.0.0.1"


class LocalStripe:
    """A Stripe account on this machine; use it with `async with`.

    `port` 0 picks a free one. `state_file` keeps catalogue, key and idempotency keys between runs. Without an
    `account` the file's is used, or a new one. `clock` returns Unix seconds. The only key accepted is `key`,
    random for each account, unless `accept_any_key`. Raises ValueError when the state file is unusable, and
    OSError on entering when the port is taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        state_file: Path | None = None,
        account: str | None = None,
        accept_any_key: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._port = port
        self._state_file = state_file
        saved = (read_state(state_file) if state_file else None) or {}
        self.account = _same_account(account, saved.get("account"), state_file)
        self.access = Access(self.account, accept_any_key=accept_any_key)
        self.key = self.access.accept(saved["key"]) if saved else self.access.issue()
        self._desk = Desk(self.account, self.access, clock, self._changed)
        for mode, side in self._sides().items():
            if saved:
                side.store.load(saved[mode])
                side.keys.load(saved[mode]["keys"])
        self._saver: Saver | None = None
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=2**20)
        app.add_routes(admin.routes(self._desk))
        app.router.add_route("*", "/{path:.*}", HttpDelivery(self._desk, self._closing).handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        if self._state_file is not None:
            self._saver = Saver(self._state_file, self._snapshot)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._desk.gates.release_all()
        await self._runner.cleanup()
        if self._saver is not None:
            await self._saver.close()

    @property
    def url(self) -> str:
        """The address to give a client as its API base, without a slash at the end."""
        if not self._runner.addresses:
            raise RuntimeError("The local Stripe is not started. Use it with `async with`.")
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    @property
    def store(self) -> Store:
        """The catalogue of test mode: `store.products` and `store.prices`, by id."""
        return self._desk.test.store

    @property
    def live_store(self) -> Store:
        """The catalogue of live mode, which keys such as `access.issue("sk_live_")` work on."""
        return self._desk.live.store

    @property
    def calls(self) -> Calls:
        """The requests so far, oldest first."""
        return self._desk.calls

    def state(self) -> dict[str, Any]:
        """Return what `GET /_local/state` shows."""
        return admin.state(self._desk)

    async def wait_for(self, condition: Callable[[Sequence[Call]], object], within: float = 10.0) -> None:
        """Return once `condition(calls)` is true, looking at each arrival and each answer.

        Raises TimeoutError after `within` seconds.
        """
        await self.calls.wait_for(condition, within)

    def fault(
        self,
        kind: FaultKind,
        method: str = "*",
        path: str = "/v1/*",
        *,
        nth: int = 1,
        times: int | None = 1,
        apply: bool = True,
        seconds: float = 0.0,
        retry_after: float | None = None,
        status: int = 429,
    ) -> Fault:
        """Make something go wrong with the nth request from now on that matches, and so `times` times.

        `path` may contain `*`; `times=None` lasts until `clear_faults`. `apply` is for `timeout`, `seconds`
        for `delay`, `retry_after` (seconds) for `rate_limit`, `status` (429 or 409) for `lock_timeout`.
        """
        aim = Aim(method, path, nth, times)
        return self._desk.faults.add(Fault(kind, aim, apply, seconds, retry_after, status))

    def clear_faults(self) -> None:
        """Forget the faults still to come."""
        self._desk.faults.clear()

    def hold(self, method: str, path: str, *, applied: bool = True, nth: int = 1) -> Gate:
        """Hold the nth request from now on that matches, after its work is done, or before it."""
        return self._desk.gates.add(Gate(Aim(method, path, nth), applied=applied))

    def limit_rate(
        self, per_second: float | None, *, burst: float | None = None, retry_after: float | None = None
    ) -> None:
        """Answer 429 above `per_second` requests (None: no limit), allowing `burst` of them at once."""
        limit = None if per_second is None else RequestLimit(per_second, burst, retry_after)
        self._desk.rate_limit = limit

    def set_latency(self, seconds: float) -> None:
        """Let each request take this long."""
        self._desk.latency = seconds

    def _sides(self) -> dict[str, Side]:
        return {"test": self._desk.test, "live": self._desk.live}

    def _changed(self) -> None:
        if self._saver is not None:
            self._saver.changed()

    def _snapshot(self) -> dict[str, Any]:
        modes = {mode: side.store.dump() | {"keys": side.keys.dump()} for mode, side in self._sides().items()}
        return {"version": 1, "account": self.account, "key": self.key, **modes}


def _same_account(wanted: str | None, saved: str | None, path: Path | None) -> str:
    if wanted and saved and wanted != saved:
        raise ValueError(f"{path} belongs to account {saved}, not to {wanted}. Use another state file.")
    return wanted or saved or new_id("acct_local", 12)
