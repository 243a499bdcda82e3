"""Promise: who may not ask, or asks in a wrong way, is told what is wrong, as JSON, and nothing is appended."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from tests.support.asking import ECHO, SECRET, Asker, Endpoints, asking
from tests.support.served import execute


@pytest.fixture
async def asker(database_url: str) -> AsyncIterator[Asker]:
    """Who asks a worker that serves `echo`; afterwards no event may be there."""
    async with asking(database_url, Endpoints().declare()) as asker:
        yield asker
    assert await execute(database_url, "select id from hearken.events") == []
    assert await execute(database_url, "select event_id from hearken.runs") == []


async def raw(asker: Asker, headers: bytes, body: bytes = b"") -> bytes:
    """The whole answer to a POST with these headers, each with its end of line."""
    url = urlsplit(asker.worker.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    length = b"Content-Length: %d\r\n" % len(body)
    writer.write(
        b"POST %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%b%b\r\n" % (ECHO.encode(), headers, length) + body
    )
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("header", ["", "Bearer", f"Bearer {SECRET}x", f"Basic {SECRET}", f"bearer {SECRET[:-1]}é"])
async def test_without_the_secret_nobody_asks(asker: Asker, header: str) -> None:
    """401, and how to do it."""
    reply = await asker.post(headers={"Authorization": header})
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_secret_that_is_no_text_is_a_wrong_one(asker: Asker) -> None:
    """401 for bytes that are no UTF-8."""
    answer = await raw(asker, b"Authorization: Bearer \xff\r\n")
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_a_run_is_told_to_who_has_the_secret(asker: Asker) -> None:
    """401 without it; 404 for a run that is not there, whatever its number looks like."""
    assert (await asker.worker.get(f"{ECHO}/runs/1")).status == 401
    for number in ("1", "0", "-1", "abc", "9" * 30, "\u0661"):
        assert (await asker.get(f"{ECHO}/runs/{number}")).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"batchSize": 0}, "batchSize"),
        ({"batchSize": "many"}, "batchSize"),
        ({"batchsize": 3}, "batchsize"),
        ([], "(body)"),
        (b"{", "(body)"),
        (b"[" * 60000, "(body)"),
        (b'{"batchSize": NaN}', "batchSize"),
        (b'{"word": "\xff"}', "(body)"),
    ],
)
async def test_an_unsound_body_is_a_422_with_the_fields_at_fault(asker: Asker, body: object, field: str) -> None:
    """Their names and what is wrong with them, never their values."""
    reply = await asker.post(body, headers={"Content-Type": "application/json"})
    assert reply.status == 422
    assert field in {one["field"] for one in reply.json["fields"]}
    assert "many" not in reply.text


@pytest.mark.parametrize("query", ["?wait=-1", "?wait=forever", "?wait=nan", "?wait=301", "?weight=3"])
async def test_an_unknown_or_impossible_parameter_is_refused(asker: Asker, query: str) -> None:
    """422."""
    assert (await asker.post(query=query)).status == 422


@pytest.mark.parametrize("key", ["", "x" * 256, "caf\u00e9"])
async def test_an_impossible_idempotency_key_is_refused(asker: Asker, key: str) -> None:
    """422."""
    assert (await asker.post(headers={"Idempotency-Key": key})).status == 422


async def test_what_is_no_json_or_too_large_is_refused(asker: Asker) -> None:
    """415 and 413."""
    assert (await asker.post(b"word=tea", headers={"Content-Type": "application/x-www-form-urlencoded"})).status == 415
    large = await asker.post(b" " * 70000, headers={"Content-Type": "application/json"})
    assert large.status == 413


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"identity, gzip", b"snappy", b"\x80"])
async def test_a_packed_body_is_refused(asker: Asker, encoding: bytes) -> None:
    """415, whether it could be unpacked or not: no bomb is opened, and none that was cut is taken for a whole one."""
    headers = b"Authorization: Bearer %b\r\nContent-Type: application/json\r\n" % SECRET.encode()
    for body in (b"\x00\x01junk", gzip.compress(b"{}"), gzip.compress(b"{}")[:-9], zlib.compress(b"{}")[:-5]):
        answer = await raw(asker, headers + b"Content-Encoding: %b\r\n" % encoding, body)
        assert answer.startswith(b"HTTP/1.1 415 ")
        assert b"\r\nAccept-Encoding: identity\r\n" in answer


async def test_another_method_is_refused(asker: Asker) -> None:
    """405, with those that would do."""
    reply = await asker.worker.get(ECHO, "DELETE")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_without_a_secret_set_requests_are_off(database_url: str) -> None:
    """503 that says so; the probes answer all the same."""
    async with asking(database_url, Endpoints().declare(), CRON_SECRET=None) as asker:
        reply = await asker.post()
        assert (reply.status, "CRON_SECRET" in reply.json["error"]) == (503, True)
        assert (await asker.get(f"{ECHO}/runs/1")).status == 503
        assert (await asker.worker.get("/livez")).status == 200


async def test_the_secret_may_stand_in_the_query(database_url: str) -> None:
    """As some schedulers can do nothing else; see test_log_secrets for where it must not be."""
    async with asking(database_url, Endpoints().declare()) as asker:
        reply = await asker.worker.post(f"{ECHO}?secret={SECRET}", {})
    assert reply.status == 200


async def test_too_many_requests_are_told_when_to_come_again(database_url: str) -> None:
    """429, per route; who has no secret uses nothing up, or anybody could keep the others out."""
    endpoints = Endpoints().declare(rate=3).declare("/other", "other")
    async with asking(database_url, endpoints) as asker:
        assert [(await asker.worker.post(ECHO, {})).status for _ in range(5)] == [401] * 5
        assert [(await asker.post()).status for _ in range(3)] == [200] * 3
        refused = await asker.post()
        assert (refused.status, refused.headers["Retry-After"]) == (429, "20")
        assert (await asker.post(path="/other")).status == 200


async def test_a_database_that_is_away_is_a_503(database_url: str) -> None:
    """Nothing is promised that could not be kept."""
    endpoints = Endpoints().declare()
    async with asking(database_url, endpoints, query_timeout=1) as asker:
        await asker.worker.app.services.database.engine.close()
        reply = await asker.post()
    assert (reply.status, "database" in reply.json["error"]) == (503, True)
