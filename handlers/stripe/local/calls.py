"""The record of every request the local Stripe got, and waiting for one: tests wait for signals, not time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

from handlers.stripe.local.forms import Form

KEPT = 50_000
"""How many calls are remembered; a long-running server forgets the oldest half beyond that."""


@dataclass
class Call:
    """One request. `status` is None until Stripe has an answer, and stays None when it never makes one.

    `at` is in Unix seconds, `fault` the fault that met it, `replayed` says the answer was an earlier one. The
    secret key is not part of it.
    """

    method: str
    path: str
    params: Form
    idempotency_key: str | None
    at: float
    request_id: str
    status: int | None = None
    replayed: bool = False
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the call as a JSON object."""
        return asdict(self)


class Calls(Sequence[Call]):
    """The calls so far, oldest first; `wait_for` returns once they satisfy a condition."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._waiting: dict[asyncio.Future[None], Callable[[Sequence[Call]], object]] = {}

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> list[Call]: ...
    def __getitem__(self, index: int | slice) -> Call | list[Call]:
        return self._calls[index]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self._calls)

    def __repr__(self) -> str:
        return f"Calls({self._calls!r})"

    def add(self, call: Call) -> None:
        """Record a request that has just arrived."""
        if len(self._calls) >= KEPT:
            del self._calls[: KEPT // 2]
        self._calls.append(call)
        self.changed()

    def clear(self) -> None:
        """Forget the calls so far."""
        self._calls.clear()

    def changed(self) -> None:
        """Wake those whose condition has come true; called at each arrival and each answer."""
        for future, condition in list(self._waiting.items()):
            if not future.done():
                self._look(future, condition)

    def _look(self, future: asyncio.Future[None], condition: Callable[[Sequence[Call]], object]) -> None:
        try:
            if condition(self._calls):
                future.set_result(None)
        except Exception as error:
            future.set_exception(error)  # it is the waiter's mistake, not the request's

    async def wait_for(self, condition: Callable[[Sequence[Call]], object], within: float) -> None:
        """Return when `condition(calls)` is true; raises TimeoutError after `within` seconds."""
        if condition(self._calls):
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = condition
        try:
            async with asyncio.timeout(within):
                await future
        finally:
            del self._waiting[future]
