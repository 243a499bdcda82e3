"""The outside world of handlers that run in worker processes: hears of every delivery, and can hold it up.

The test's side is `Witness`; the handler's side is `observed.reporting`, which finds it by the variable WITNESS_PORT.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Self


@dataclass
class Delivery:
    """What a handler said when it was called, and when, in the order of everything the witness heard.

    pid      of the worker process
    version  of the row; for a delete, of the deleted one
    ended    when it was done with the event, or its process dead; None while it is at it
    done     whether it said so itself
    """

    pid: int
    handler: str
    event: int
    key: str | None
    op: str
    version: int | None
    attempt: int
    began: int = 0
    ended: int | None = None
    done: bool = False


class Witness:
    """A server on loopback that writes down each delivery before it lets the handler go on."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._news = asyncio.Condition()
        self._clock = count(1)
        self._gate = asyncio.Event()
        self._gate.set()
        self._talks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._listen, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def hold(self) -> None:
        """Let no handler go on from now on; what they say is heard."""
        self._gate.clear()

    def release(self) -> None:
        """Let them go on."""
        self._gate.set()

    def events(self, handler: str | None = None) -> list[int]:
        """The ids of the events delivered, in order of arrival."""
        return [d.event for d in self.deliveries if handler in (None, d.handler)]

    def repeated(self) -> list[Delivery]:
        """The deliveries of events that a handler was given more than once."""
        times = Counter((d.handler, d.event) for d in self.deliveries)
        return [d for d in self.deliveries if times[d.handler, d.event] > 1]

    def versions(self) -> dict[str, list[int]]:
        """The versions delivered of each key, in order of arrival."""
        found: dict[str, list[int]] = defaultdict(list)
        for delivery in self.deliveries:
            if delivery.key is not None and delivery.version is not None:
                found[delivery.key].append(delivery.version)
        return dict(found)

    def by_pid(self) -> dict[int, list[Delivery]]:
        """The deliveries of each process, in order of arrival."""
        found: dict[int, list[Delivery]] = defaultdict(list)
        for delivery in self.deliveries:
            found[delivery.pid].append(delivery)
        return dict(found)

    async def until(self, condition: Callable[[Sequence[Delivery]], bool], seconds: float = 20) -> None:
        """Wait until what was heard fulfils the condition. Raises AssertionError when it does not in time."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: condition(self.deliveries))
        except TimeoutError:
            last = self.deliveries[-5:]
            raise AssertionError(f"not within {seconds:g} s; heard {len(self.deliveries)}, at last: {last}") from None

    async def until_deliveries(self, count: int, seconds: float = 20) -> None:
        """Wait until there were so many deliveries, repeated ones too."""
        await self.until(lambda heard: len(heard) >= count, seconds)

    async def until_at_work(self, *, other_than: int | None = None, seconds: float = 20) -> None:
        """Wait until a handler is at work, in a process other than that."""
        await self.until(lambda heard: any(d.ended is None and d.pid != other_than for d in heard), seconds)

    async def until_heard(self, count: int, seconds: float = 20) -> None:
        """Wait until that many different events were delivered."""
        await self.until(lambda heard: len({(d.handler, d.event) for d in heard}) >= count, seconds)

    async def until_done(self, count: int, seconds: float = 20) -> None:
        """Wait until handlers have done that many different events."""
        await self.until(lambda heard: len({(d.handler, d.event) for d in heard if d.done}) >= count, seconds)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        try:
            if line := await reader.readline():
                await self._talk(json.loads(line), reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the worker was killed, which is what these tests do, or the test is over
        finally:
            writer.close()

    async def _talk(self, said: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        delivery = Delivery(**said, began=next(self._clock))
        self.deliveries.append(delivery)
        await self._tell()
        try:
            await self._gate.wait()
            writer.write(b"go\n")
            delivery.done = await reader.readline() != b""
        finally:
            delivery.ended = next(self._clock)
            await self._tell()
        writer.write(b"heard\n")

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()
