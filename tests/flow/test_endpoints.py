"""Promise: a POST to an endpoint becomes an event, is answered with its outcome, and is the same run however often."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.asking import ECHO, SECRET, Endpoints, asking, read
from tests.support.served import execute
from worker import Park, Retry, Skip


@pytest.fixture
def endpoints() -> Endpoints:
    """The endpoint `echo`, declared."""
    return Endpoints().declare()


async def test_the_handler_s_result_is_the_answer(database_url: str, endpoints: Endpoints) -> None:
    """200 with exactly what it returned; the event holds the body with its defaults, and the run its result."""
    async with asking(database_url, endpoints) as asker:
        reply = await asker.post({"word": "hello"})
        run = await asker.get(reply.headers["Location"])
    assert (reply.status, reply.json) == (200, {"said": "hello", "size": 20})
    ((event_id, key, new),) = await execute(database_url, "select id, key, new from hearken.events")
    assert (key, new) == (str(event_id), {"batchSize": 20, "word": "hello"})
    assert reply.headers["Hearken-Run"] == str(event_id)
    assert (run.json["state"], run.json["result"], run.json["attempt"]) == ("succeeded", reply.json, 1)
    assert run.json["asked_at"] <= run.json["started_at"] <= run.json["ended_at"]


async def test_what_takes_longer_is_answered_202(database_url: str, endpoints: Endpoints) -> None:
    """With a place to ask for the outcome, which is there when it has come."""
    endpoints.gate.clear()
    async with asking(database_url, endpoints) as asker:
        reply = await asker.post({"word": "later"}, query="?wait=0")
        assert (reply.status, reply.json["state"]) in ((202, "queued"), (202, "running"))
        await endpoints.called.wait()
        where = reply.json["status_url"]
        assert (await asker.get(where)).json["state"] == "running"
        endpoints.gate.set()
        ended = await asker.worker.until(f"{where}?secret={SECRET}", lambda run: run.json["ended_at"] is not None)
    assert ended.json["result"] == {"said": "later", "size": 20}


async def test_a_failed_attempt_is_waited_out(database_url: str, endpoints: Endpoints) -> None:
    """The run is retried as any event is; the POST waits on."""
    endpoints.raises.append(Retry("not yet", after=0.05))
    async with asking(database_url, endpoints) as asker:
        reply = await asker.post()
        run = await asker.get(reply.headers["Location"])
    assert (reply.status, run.json["attempt"], run.json["error"]) == (200, 2, None)


async def test_a_dead_run_is_a_500_with_its_reason(database_url: str, endpoints: Endpoints) -> None:
    """And the event is dead, for a person to look at."""
    endpoints.raises.append(Park("no such customer"))
    async with asking(database_url, endpoints) as asker:
        reply = await asker.post()
        run = await asker.get(reply.headers["Location"])
    assert (reply.status, reply.json["error"]) == (500, "the run failed: no such customer")
    assert (run.json["state"], run.json["error"]) == ("dead", "no such customer")
    assert await execute(database_url, "select state from hearken.parked") == [("dead",)]


async def test_a_skipped_run_says_why(database_url: str, endpoints: Endpoints) -> None:
    """200: there was nothing to do."""
    endpoints.raises.append(Skip("nothing new"))
    async with asking(database_url, endpoints) as asker:
        reply = await asker.post()
    assert (reply.status, reply.json["skipped"]) == (200, "nothing new")


async def test_an_idempotency_key_makes_one_run(database_url: str, endpoints: Endpoints) -> None:
    """Ten at once, and one later: one event, one call, the same answer; another body under it is refused."""
    async with asking(database_url, endpoints) as asker:
        key = {"Idempotency-Key": "monday"}
        replies = await asyncio.gather(*(asker.post({"word": "once"}, headers=key) for _ in range(10)))
        replies.append(await asker.post({"word": "once"}, headers=key))
        other = await asker.post({"word": "else"}, headers=key)
    assert {(reply.status, reply.headers["Hearken-Run"]) for reply in replies} == {
        (200, replies[0].headers["Hearken-Run"])
    }
    assert len(endpoints.bodies) == 1
    assert (other.status, "with another body" in other.json["error"]) == (409, True)
    assert await execute(database_url, "select count(*) from hearken.events") == [(1,)]


async def test_a_run_that_has_to_be_alone_is(database_url: str) -> None:
    """A second POST is told of the first, and is taken when that is over."""
    endpoints = Endpoints().declare(alone=True)
    endpoints.gate.clear()
    async with asking(database_url, endpoints) as asker:
        first, second = await asyncio.gather(asker.post(query="?wait=0"), asker.post(query="?wait=0"))
        refused, taken = sorted((first, second), key=lambda reply: -reply.status)
        assert (taken.status, refused.status) == (202, 409)
        assert refused.json["run"] == taken.json["run"]
        assert refused.headers["Location"] == taken.json["status_url"]
        endpoints.gate.set()
        await asker.worker.until(
            f"{taken.json['status_url']}?secret={SECRET}", lambda run: run.json["ended_at"] is not None
        )
        assert (await asker.post()).status == 200


async def test_what_returns_no_json_is_dead(database_url: str, endpoints: Endpoints) -> None:
    """A result is kept as JSON; the message names the type and not the value."""

    async def wrong(change: object, ctx: object) -> object:
        return object()

    endpoints.registry.endpoint("wrong", path="/wrong")(wrong)
    async with asking(database_url, endpoints) as asker:
        reply = await asker.post(path="/wrong")
    assert (reply.status, reply.json["error"]) == (500, "the run failed: returned a object, which is not JSON")


async def test_a_get_tells_how_to_post(database_url: str, endpoints: Endpoints) -> None:
    """Without the secret, since it says nothing that is one."""
    async with asking(database_url, endpoints) as asker:
        reply = await asker.worker.get(ECHO)
    assert (reply.status, reply.json["post"]) == (200, ECHO)
    assert set(reply.json["body"]["properties"]) == {"batchSize", "word"}


async def test_a_get_may_read(database_url: str) -> None:
    """Where the endpoint declares it: with the secret alone, and its query checked."""
    endpoints = Endpoints().declare(read=read)
    async with asking(database_url, endpoints) as asker:
        assert (await asker.get(f"{ECHO}?word=tea")).json == {"word": "tea"}
        assert (await asker.worker.get(f"{ECHO}?word=tea")).status == 401
        missing = await asker.get(ECHO)
    assert (missing.status, missing.json["fields"]) == (422, [{"field": "word", "problem": "Field required"}])


async def test_a_stopping_worker_lets_nobody_wait(database_url: str, endpoints: Endpoints) -> None:
    """The POST is answered 202 at once; the run goes on, or comes again at the next worker."""
    endpoints.gate.clear()
    async with asking(database_url, endpoints) as asker:
        waiting = asyncio.create_task(asker.post())
        await endpoints.called.wait()
        asker.worker.app.stop()
        async with asyncio.timeout(3):
            reply = await waiting
        endpoints.gate.set()
    assert reply.status == 202


async def test_a_paused_handler_s_run_says_what_it_waits_for(database_url: str, endpoints: Endpoints) -> None:
    """In the 202 and in its status; resumed, it is done."""
    async with asking(database_url, endpoints) as asker:
        await execute(
            database_url, "insert into hearken.paused (handler, by, reason) values ('answer_echo', 'anna', 'inventory')"
        )
        reply = await asker.post(query="?wait=0.1")
        assert (reply.status, reply.json["paused"]) == (202, "inventory")
        where = reply.json["status_url"]
        assert (await asker.get(where)).json["paused"] == "inventory"
        await execute(database_url, "delete from hearken.paused")
        ended = await asker.worker.until(f"{where}?secret={SECRET}", lambda run: run.json["ended_at"] is not None)
    assert (ended.json["state"], ended.json["paused"]) == ("succeeded", None)
