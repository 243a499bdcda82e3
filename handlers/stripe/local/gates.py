"""Gates: hold a request between two moments, so that a test can kill its client exactly there."""

from __future__ import annotations

import asyncio

from handlers.stripe.local.calls import Call
from handlers.stripe.local.faults import Aim


class Gate:
    """Holds one request: `await gate.reached` gives its Call, `gate.release()` lets it go on.

    `applied` tells whether the request stops after Stripe has done the work (its answer is held), or before.
    """

    def __init__(self, aim: Aim, *, applied: bool) -> None:
        self.aim = aim
        self.applied = applied
        self.reached: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the held request, or the one that will come, go on."""
        self._released.set()

    async def hold(self, call: Call) -> None:
        """Tell that the request is here, and return when it may go on."""
        if not self.reached.done():
            self.reached.set_result(call)
        await self._released.wait()


class Gates:
    """The gates that wait for their request."""

    def __init__(self) -> None:
        self._waiting: list[Gate] = []
        self._all: list[Gate] = []

    def add(self, gate: Gate) -> Gate:
        """Put up a gate."""
        self._waiting.append(gate)
        self._all.append(gate)
        return gate

    def take(self, method: str, path: str) -> Gate | None:
        """Return the first gate this request comes to, and take it down behind it."""
        for gate in self._waiting:
            if gate.aim.hits(method, path):
                self._waiting.remove(gate)
                return gate
        return None

    def release_all(self) -> None:
        """Let every request go on, at the end of the server."""
        for gate in self._all:
            gate.release()
