"""Whether a delivery is still this worker's own: asked before each effect, because another may have taken it over.

While its batch lasts, the claim on the cursor says so; afterwards its row in hearken.parked does.
"""

from __future__ import annotations

import asyncio
from typing import LiteralString

from worker.postgres.database import Connection

CLAIM_HELD: LiteralString = "select 1"


class Ownership:
    """What shows that the delivery of one event is ours.

    claim   the connection of its batch; None once its row in hearken.parked says that it is running here
    """

    __slots__ = ("_moved", "claim", "event_id", "handler", "worker")

    def __init__(self, handler: str, event_id: int, worker: int, claim: Connection | None) -> None:
        self.handler = handler
        self.event_id = event_id
        self.worker = worker
        self.claim = claim
        self._moved: asyncio.Event | None = None

    @property
    def parked(self) -> bool:
        """Whether its batch is committed, and its row says that it is running."""
        return self.claim is None

    @property
    def leaving(self) -> bool:
        """Whether its batch no longer waits for it."""
        return self.parked or self._moved is not None

    def move(self) -> None:
        """Its batch is about to commit the row: nothing can be said until it has."""
        self._moved = asyncio.Event()

    def moved(self) -> None:
        """The batch is committed."""
        self.claim = None
        if self._moved is not None:
            self._moved.set()

    async def row_needed(self) -> bool:
        """Whether the row must say so; otherwise the claim has just been seen to hold.

        Raises ConnectionLost, psycopg.OperationalError when the claim is lost.
        """
        if self._moved is not None:
            await self._moved.wait()
        if self.claim is None:
            return True
        await self.claim.execute(CLAIM_HELD)
        return False
