"""The tests' own broken network breaks as a real one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.support.proxy import TcpProxy
from worker.dev.ports import free_port


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1024):
            writer.write(data)
    writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[TcpProxy]:
    """A proxy before a server that sends back what it gets."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, TcpProxy(*server.sockets[0].getsockname()) as proxy:
        yield proxy


async def _connect(proxy: TcpProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def test_bytes_pass_both_ways_and_an_end_is_an_end(proxy: TcpProxy) -> None:
    """Left alone, the proxy cannot be told from the server itself."""
    reader, writer = await _connect(proxy)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.write_eof()
    assert await reader.read() == b""
    assert proxy.connections == 1
    writer.close()


async def test_a_cut_resets_what_is_open_and_accepts_what_is_new(proxy: TcpProxy) -> None:
    """A cut connection ends in a reset, not in a polite end; the next one works."""
    reader, writer = await _connect(proxy)
    writer.write(b"hello")
    await reader.readexactly(5)
    await proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    _, writer = await _connect(proxy)
    writer.close()
    assert proxy.connections == 2


async def test_a_frozen_connection_is_silent_until_thawed(proxy: TcpProxy) -> None:
    """While frozen, sending succeeds and nothing comes back; after thawing it all arrives, in order."""
    reader, writer = await _connect(proxy)
    proxy.freeze()
    writer.write(b"hello")
    await writer.drain()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    writer.write(b" again")
    proxy.thaw()
    assert await reader.readexactly(11) == b"hello again"
    writer.close()


async def test_refusing_is_seen_at_once_and_keeps_the_port(proxy: TcpProxy) -> None:
    """New connections are refused, old ones go on, and accepting again is on the same port."""
    reader, writer = await _connect(proxy)
    writer.write(b"a")
    await reader.readexactly(1)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await _connect(proxy)
    writer.write(b"b")
    assert await reader.readexactly(1) == b"b"
    writer.close()
    await proxy.accept()
    _, writer = await _connect(proxy)
    writer.close()


async def test_a_server_that_is_down_is_passed_on_as_a_reset() -> None:
    """When nothing listens behind the proxy, a client is cut off instead of kept waiting."""
    async with TcpProxy("127.0.0.1", free_port()) as proxy:
        reader, writer = await _connect(proxy)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


def test_a_url_is_led_through_the_proxy_with_all_its_parts() -> None:
    """Credentials, database and options stay; only host and port change."""
    proxy = TcpProxy("127.0.0.1", 1)
    led = proxy.through("postgresql://me:secret@db:5432/name?application_name=x")
    assert led == f"postgresql://me:secret@127.0.0.1:{proxy.port}/name?application_name=x"
