"""A stand-in for a connection pooler, between clients and a real server, which speaks enough of the protocol for both.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from psycopg import pq
from psycopg.pq import abc

Mode = Literal["transaction", "deaf"]

_ENCRYPTION = (80877103, 80877104)  # requests for SSL and GSS; we have neither
_STARTUP = 196608  # protocol 3.0
_PARAMETERS = (
    b"client_encoding",
    b"server_version",
    b"DateStyle",
    b"integer_datetimes",
    b"standard_conforming_strings",
)
_OWN_PROCESS = 4711  # poolers make up the process id that they announce


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


async def _read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Its kind, and the whole of it."""
    head = await reader.readexactly(5)
    return head[:1], head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)


@dataclass
class _Server:
    """A connection to the server. libpq has logged in; the bytes are ours from then on."""

    library: abc.PGconn
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Pooler:
    """In mode "transaction", clients take turns on the server's connections; "deaf" loses notifications only."""

    def __init__(self, url: str, mode: Mode) -> None:
        self._upstream = url
        self._mode = mode
        self._idle: list[_Server] = []
        self._servers: list[_Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for server in self._servers:
            server.writer.close()
            server.library.finish()

    @property
    def url(self) -> str:
        """The same database, by way of here. The password is not asked for."""
        assert self._server is not None
        parts = urlsplit(self._upstream)
        host, port = self._server.sockets[0].getsockname()[:2]
        return parts._replace(netloc=f"{parts.username}@{host}:{port}").geturl()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        try:
            if await self._greet(reader, writer):
                await self._relay(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        finally:
            writer.close()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Let the client in, as the server would; False for one that only wants to cancel."""
        while True:
            length, code = struct.unpack("!ii", await reader.readexactly(8))
            await reader.readexactly(length - 8)
            if code not in _ENCRYPTION:
                break
            writer.write(b"N")
        if code != _STARTUP:
            return False
        server = await self._take()
        writer.write(_message(b"R", struct.pack("!i", 0)))
        for name in _PARAMETERS:
            value = server.library.parameter_status(name) or b""
            writer.write(_message(b"S", name + b"\0" + value + b"\0"))
        self._idle.append(server)
        writer.write(_message(b"K", struct.pack("!ii", _OWN_PROCESS, 0)) + _message(b"Z", b"I"))
        return True

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Transaction after transaction, each on the server connection that is free; or all on one of our own."""
        while True:
            first = await _read_message(reader)
            server = await self._take()
            await self._transaction(first, reader, writer, server)
            self._idle.append(server)  # one whose client has gone in between is given to nobody any more

    async def _transaction(
        self,
        message: tuple[bytes, bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server: _Server,
    ) -> None:
        while True:
            while message[0] not in (b"Q", b"S"):  # what ends with an answer: a simple query, or a sync
                server.writer.write(message[1])
                message = await _read_message(reader)
            server.writer.write(message[1])
            if await self._answer(writer, server) == b"I" and self._mode == "transaction":
                return
            message = await _read_message(reader)

    async def _answer(self, writer: asyncio.StreamWriter, server: _Server) -> bytes:
        """Pass on what the server says until it is ready; returns its transaction status."""
        while True:
            kind, message = await _read_message(server.reader)
            if kind == b"A" and self._mode == "deaf":
                continue
            writer.write(message)
            if kind == b"Z":
                return message[-1:]

    async def _take(self) -> _Server:
        """The server connection that was used last, or a new one."""
        if self._idle:
            return self._idle.pop()
        library = await asyncio.to_thread(pq.PGconn.connect, self._upstream.encode())
        assert library.status == pq.ConnStatus.OK, library.get_error_message()
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=os.dup(library.socket)))
        server = _Server(library, reader, writer)
        self._servers.append(server)
        return server
