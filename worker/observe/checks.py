"""One readiness check: a question with a name, whose answer is remembered for a moment and never is an exception.

An answer may be costly, and is asked for often: it is fetched once for everybody, and good for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from worker.errors import CheckFailed
from worker.telemetry.error_line import error_line, trace_of

logger = structlog.get_logger("health")

# Seconds that an answer is good for, so that many probes cost little.
FRESH = 1.0


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
        """Stop asking."""
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


@dataclass(frozen=True)
class CheckResult:
    """What a check said. `taken_at` is in the loop's seconds; the text holds no secret and no row's values."""

    name: str
    ok: bool
    text: str
    taken_at: float

    @property
    def age(self) -> float:
        """Seconds since it was given."""
        return asyncio.get_running_loop().time() - self.taken_at


class ReadinessCheck:
    """Asks `question`, which returns what is fine or raises CheckFailed, and waits `patience` seconds at most.

    The answer is good for `fresh` seconds.
    """

    def __init__(
        self, name: str, question: Callable[[], Awaitable[str]], *, patience: float, fresh: float = FRESH
    ) -> None:
        self.name = name
        self._remembered = Remembered(question, fresh=fresh, patience=patience)
        self._was_ok: bool | None = None

    async def answer(self) -> CheckResult:
        """The answer, at most a moment old. An unknown exception makes it red and shows only its class."""
        failure: Exception | None = None
        try:
            text = await self._remembered.get()
        except Exception as error:
            failure, text = error, error_line(error)
        answer = CheckResult(self.name, failure is None, " ".join(text.split()), self._remembered.taken_at)
        self._say_change(answer, failure)
        return answer

    async def close(self) -> None:
        """Stop asking."""
        await self._remembered.close()

    def _say_change(self, answer: CheckResult, failure: Exception | None) -> None:
        if not answer.ok and self._was_ok is not False:
            logger.warning("check is red", check=self.name, reason=answer.text, exc_info=trace_of(failure))
        elif answer.ok and self._was_ok is False:
            logger.info("check is green again", check=self.name)
        self._was_ok = answer.ok
