"""A network that can fail: a TCP proxy on loopback, put between a client and a server that are both real."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from worker.dev.ports import free_port

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST


class TcpProxy:
    """Forwards connections to one server, until told otherwise.

    port         where it listens on 127.0.0.1; the same for its whole life
    connections  how many it has accepted so far
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = free_port()
        self.connections = 0
        self._upstream = (host, port)
        self._passed = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None

    async def __aenter__(self) -> Self:
        self._reserve()
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        await self.cut()
        if self._reserved is not None:
            self._reserved.close()

    def through(self, url: str) -> str:
        """The same URL, but by way of this proxy."""
        credentials, at, _ = urlsplit(url).netloc.rpartition("@")
        return urlsplit(url)._replace(netloc=f"{credentials}{at}127.0.0.1:{self.port}").geturl()

    async def silent(self, seconds: float) -> bool:
        """Whether nothing is passed on for so long, either way; False as soon as something is."""
        self._passed.clear()
        with suppress(TimeoutError):
            return not await asyncio.wait_for(self._passed.wait(), seconds)
        return True

    async def cut(self) -> None:
        """Reset every connection, on both sides, and wait until they are closed. New ones are accepted."""
        carrying = tuple(self._carrying)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)

    def freeze(self) -> None:
        """Stop passing anything on, even an end: both sides send into the void and see open connections.

        What they sent arrives after `thaw()`, as it would when a broken network is mended; `cut()` loses it.
        """
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on again, beginning with what was held back."""
        self._flowing.set()

    def strand(self) -> None:
        """Freeze what exists for good, until `cut()`: half-open. New connections are accepted and work."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def refuse(self) -> None:
        """Refuse new connections, as if nothing listened. Those that exist go on."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._reserve()

    async def accept(self) -> None:
        """Accept new connections again."""
        if self._reserved is not None:
            self._server = await asyncio.start_server(self._carry, sock=self._reserved)
            self._reserved = None

    def _reserve(self) -> None:
        """Keep the port without listening on it, so that nobody else gets it meanwhile."""
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self.port))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        flowing = self._flowing
        try:
            await flowing.wait()
            await self._join(reader, writer, flowing)
        except* (OSError, asyncio.CancelledError):
            pass  # cut, or either side reset, or the server is not there: the other side is reset in turn
        finally:
            with suppress(asyncio.CancelledError):  # cut again
                await _reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, up_writer, flowing))
                both.create_task(self._pass_on(up_reader, writer, flowing))
        finally:
            await _reset(up_writer)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event
    ) -> None:
        while data := await reader.read(65536):
            await flowing.wait()
            writer.write(data)
            self._passed.set()
            await writer.drain()
        await flowing.wait()
        writer.write_eof()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[TcpProxy]:
    """A proxy before the server that the URL names."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with TcpProxy(parts.hostname, parts.port) as proxy:
        yield proxy


async def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()
    with suppress(ConnectionError):  # how it ended, when the other side reset it first
        await writer.wait_closed()
