"""One readiness check: a question with a name, whose answer is remembered for a moment and never is an exception."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from worker.observe.remembered import Remembered
from worker.telemetry.error_line import error_line, trace_of

logger = structlog.get_logger("health")

# Seconds that an answer is good for, so that many probes cost little.
FRESH = 1.0


@dataclass(frozen=True)
class Answer:
    """What a check said. `taken_at` is in the loop's seconds; the text holds no secret and no row's values."""

    name: str
    ok: bool
    text: str
    taken_at: float

    @property
    def age(self) -> float:
        """Seconds since it was given."""
        return asyncio.get_running_loop().time() - self.taken_at


class Check:
    """Asks `question`, which returns what is fine or raises CheckFailed, and waits `patience` seconds at most.

    The answer is good for `fresh` seconds.
    """

    def __init__(
        self, name: str, question: Callable[[], Awaitable[str]], *, patience: float, fresh: float = FRESH
    ) -> None:
        self.name = name
        self._remembered = Remembered(question, fresh=fresh, patience=patience)
        self._was_ok: bool | None = None

    async def answer(self) -> Answer:
        """The answer, at most a moment old. An unknown exception is a red one, of which only the class is told."""
        failure: Exception | None = None
        try:
            text = await self._remembered.get()
        except Exception as error:
            failure, text = error, error_line(error)
        answer = Answer(self.name, failure is None, " ".join(text.split()), self._remembered.taken_at)
        self._say_change(answer, failure)
        return answer

    async def close(self) -> None:
        """Ask no further."""
        await self._remembered.close()

    def _say_change(self, answer: Answer, failure: Exception | None) -> None:
        if not answer.ok and self._was_ok is not False:
            logger.warning("check is red", check=self.name, reason=answer.text, exc_info=trace_of(failure))
        elif answer.ok and self._was_ok is False:
            logger.info("check is green again", check=self.name)
        self._was_ok = answer.ok
