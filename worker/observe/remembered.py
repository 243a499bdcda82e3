"""An answer that is costly to get, and may be asked for often: got once for everybody, and good for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from worker.errors import CheckFailed

T = TypeVar("T")


class Remembered(Generic[T]):
    """Asks `question` when the last answer is older than `fresh` seconds, and waits `patience` seconds for it.

    `taken_at` is when the last answer came, in the loop's seconds. Failures are answers too.
    """

    def __init__(self, question: Callable[[], Awaitable[T]], *, fresh: float, patience: float) -> None:
        self.taken_at = 0.0
        self._question = question
        self._fresh = fresh
        self._patience = patience
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The answer. Raises what the question raised, and CheckFailed when no answer came in time."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self.taken_at >= self._fresh):
            self._asking = asyncio.create_task(self._ask())
        # One who goes away does not take the answer from the others.
        return await asyncio.shield(self._asking)

    async def close(self) -> None:
        """Ask no further."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    async def _ask(self) -> T:
        question = asyncio.ensure_future(self._question())
        try:
            await asyncio.wait({question}, timeout=self._patience)
            if not question.done():
                raise CheckFailed(f"no answer within {self._patience:g} s")
            if question.cancelled():
                raise CheckFailed("was cancelled before it answered")
            return question.result()
        finally:
            # Not waited for: a question that ignores its cancellation must not hold up those who ask.
            question.cancel()
            self.taken_at = asyncio.get_running_loop().time()
