"""The progress of a consumer: written by it and by its batches, read by `observe`."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import Enum


class Turn(Enum):
    """The result of one turn of the loop."""

    WORKED = "worked"  # and there may be more
    CAUGHT_UP = "caught up"  # did something, and has seen nothing more
    IDLE = "idle"  # found nothing to do
    ELSEWHERE = "elsewhere"
    PAUSED = "paused"
    FULL = "full"  # as many deliveries run as may
    ASIDE = "aside"  # its declaration is not the cursor's


@dataclass
class ConsumerProgress:
    """What health asks of a consumer. `trouble` is the last error not yet overcome, `rollbacks` how many batches in a
    row were rolled back; times are monotonic seconds.

    aside  why it leaves its cursor alone, while its turn is ASIDE

    `next` is set when the coming turn is committed, and replaced: take it, look at the database, then wait for it.
    """

    turn: Turn | None = None
    moved_at: float = field(default_factory=time.monotonic)
    trouble: str | None = None
    rollbacks: int = 0
    aside: str | None = None
    next: asyncio.Event = field(default_factory=asyncio.Event)

    def working(self) -> None:
        """A batch begins, or a delivery of it ended; in trouble that proves nothing, it may be rolled back again."""
        self.turn = Turn.WORKED
        if self.trouble is None:
            self.moved_at = time.monotonic()

    def moved(self, turn: Turn) -> None:
        self.turn, self.trouble, self.rollbacks, self.moved_at = turn, None, 0, time.monotonic()
        self.next.set()
        self.next = asyncio.Event()

    def rolled_back(self, trouble: str | None) -> None:
        """One more batch came to nothing."""
        self.trouble = trouble
        self.rollbacks += 1
