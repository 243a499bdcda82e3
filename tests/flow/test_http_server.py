"""Promise: the HTTP server answers whatever it is asked in a small, regular way, and says when it cannot listen."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web

from tests.support.served import ROOT, WORKER, Served, program_environment, served
from worker.declare.registry import Registry
from worker.errors import ConfigurationError
from worker.http.server import HttpServer

NOBODY_IS_THERE = "postgresql://nobody:hunter2@127.0.0.1:1/nothing"


@pytest.fixture
async def worker() -> AsyncIterator[Served]:
    """A worker with nothing to do, and no database: its HTTP server needs none."""
    async with served(NOBODY_IS_THERE, Registry(), prepared=False) as worker:
        yield worker


async def test_an_unknown_path_is_a_small_json_404(worker: Served) -> None:
    """Also with a query, which is not repeated: it may hold a secret."""
    reply = await worker.get("/nowhere?secret=hunter2")
    assert (reply.status, reply.json) == (404, {"error": "nothing is served at /nowhere"})


async def test_a_wrong_method_is_a_small_json_405(worker: Served) -> None:
    """With the methods that would do, in the body's words and in the header."""
    reply = await worker.get("/readyz", "POST")
    assert (reply.status, reply.json) == (405, {"error": "/readyz does not accept POST"})
    assert reply.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics"])
async def test_head_answers_as_get_without_a_body(worker: Served, path: str) -> None:
    """The same status and type; nothing is kept by a cache, and no version is told."""
    head, get = await worker.get(path, "HEAD"), await worker.get(path)
    assert (head.status, head.text) == (get.status, "")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert (get.headers["Server"], get.headers["Cache-Control"]) == ("hearken", "no-store")


async def test_the_password_is_in_no_answer(worker: Served) -> None:
    """A database that cannot be reached is named, its password is not."""
    for path in ("/readyz", "/health", "/metrics"):
        assert "hunter2" not in (await worker.get(path)).text
    assert "127.0.0.1" in await worker.until_red("database")


async def test_what_is_no_http_is_refused(worker: Served) -> None:
    """400, and the server goes on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.app.http.port)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert b"400" in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert (await worker.get("/livez")).status == 200


async def test_a_route_that_fails_is_a_500_without_its_reason() -> None:
    """What a route raises may hold anything: the log says where, the answer does not."""

    async def fail(request: web.Request) -> web.Response:
        raise ValueError("hunter2")

    server = HttpServer(("127.0.0.1", 0), [web.get("/fail", fail)])
    await server.start()
    try:
        async with ClientSession() as session, session.get(f"http://127.0.0.1:{server.port}/fail") as response:
            assert response.status == 500
            assert await response.json() == {"error": "the request failed: see the worker's log"}
    finally:
        await server.stop()


async def test_a_taken_port_is_a_clear_error() -> None:
    """It names the address and the settings."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{port} .* set PORT"):
            await HttpServer(("127.0.0.1", port), []).start()


async def test_an_address_of_another_machine_is_a_clear_error() -> None:
    """HEARKEN_HOST must be ours."""
    with pytest.raises(ConfigurationError, match="HEARKEN_HOST"):
        await HttpServer(("192.0.2.1", 0), []).start()


def test_a_worker_whose_port_is_taken_exits_with_a_message() -> None:
    """Not 0, and the one line to read."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = program_environment(NOBODY_IS_THERE, "tests.support.leaky", PORT=port)
        ended = subprocess.run(WORKER, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode != 0
    assert f"hearken: HTTP cannot listen on 127.0.0.1:{port}" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
