"""Promise: /livez, /readyz and /health tell the truth about a worker, whatever happens to it, and never hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic_settings import BaseSettings

from tests.support.proxy import proxy_to
from tests.support.served import THINGS, Reply, Served, execute, prepare, served
from worker import Change, CheckFailed, Context, Park, Unavailable
from worker.declare.registry import Registry
from worker.dev.embedded import EmbeddedPostgres
from worker.postgres.database import Database

SECRET = "hunter2-of-the-row"


class NoSettings(BaseSettings):
    """A resource that needs none."""


def quiet() -> Registry:
    """One handler, that does nothing."""
    registry = Registry()

    @registry.on("public.things")
    async def note(change: Change, ctx: Context) -> None:
        """Nothing."""

    return registry


def raising(outcome: Exception) -> Registry:
    """One handler, that always raises this."""
    registry = Registry()

    @registry.on("public.things")
    async def note(change: Change, ctx: Context) -> None:
        """Fail."""
        raise outcome

    return registry


def held(registry: Registry) -> tuple[asyncio.Event, asyncio.Event]:
    """Add a handler that waits; returns the event it sets when called, and the one it waits for."""
    called, released = asyncio.Event(), asyncio.Event()

    @registry.on("public.things", concurrency=1)
    async def note(change: Change, ctx: Context) -> None:
        """Wait."""
        called.set()
        await released.wait()

    return called, released


def holding_its_batch(registry: Registry) -> tuple[asyncio.Event, asyncio.Event]:
    """As `held`, of the batch's own transaction."""
    called, released = asyncio.Event(), asyncio.Event()

    @registry.on("public.things", transactional=True)
    async def note(changes: Sequence[Change], ctx: Context) -> None:
        """Wait."""
        called.set()
        await released.wait()

    return called, released


def checked(check: str, question: object) -> Registry:
    """One readiness check over a resource."""
    registry = quiet()

    @registry.resource
    async def outside(settings: NoSettings, database: Database) -> AsyncIterator[str]:
        yield "outside"

    registry.readiness(check, outside)(question)  # type: ignore[arg-type]
    return registry


async def until_idle(worker: Served) -> Reply:
    """Wait until the handler has looked, and found nothing; returns its /health."""
    return await worker.until("/health", lambda reply: reply.json["handlers"]["note"]["state"] == "idle")


async def add_thing(url: str, key: int = 1) -> None:
    await execute(url, "insert into things values (%s, %s)", key, SECRET)


async def test_a_worker_that_works_is_ready(empty_database_url: str) -> None:
    """Every check has its line and is green."""
    async with served(empty_database_url, quiet()) as worker:
        reply = await worker.until_ready()
        assert [line.split(":")[0] for line in reply.text.splitlines()] == [
            "ok  worker",
            "ok  database",
            "ok  rights",
            "ok  migrations",
            "ok  failover",
            "ok  triggers",
            "ok  listener",
            "ok  handler note",
        ]
        assert "verified 0 s ago" in reply.line("listener")
        assert (await worker.get("/livez")).text == "alive\n"


async def test_health_tells_everything_as_json(empty_database_url: str) -> None:
    """Version, start, each check with its age; each handler with what it has before it and put aside."""
    async with served(empty_database_url, quiet()) as worker:
        await worker.until_ready()
        health = (await until_idle(worker)).json
        assert (health["version"], health["ready"]) == ("0.1.0", True)
        assert health["started_at"].endswith("+00:00")
        assert {check["name"] for check in health["checks"]} >= {"database", "triggers", "handler note"}
        assert all(check["ok"] and check["age_seconds"] >= 0 for check in health["checks"])
        assert health["handlers"]["note"] == {
            "state": "idle",
            "trouble": None,
            "circuit": {"open": False, "reason": None, "alarm": False},
            "running": 0,
            "oldest_seconds": None,
            "behind": 0,
            "behind_is_at_least": False,
            "parked": 0,
            "held": 0,
            "dead": 0,
            "braked": None,
            "schedule": None,
            "paused": None,
        }


async def test_a_database_that_is_away_is_named_and_forgiven(postgres: EmbeddedPostgres) -> None:
    """Stopped: alive, not ready, and /health and /metrics still answer. Started again: ready again."""
    async with served(postgres.url, quiet()) as worker:
        await worker.until_ready()
        await asyncio.to_thread(postgres.stop)
        await worker.until_red("database", "refused")
        assert (await worker.get("/livez")).status == 200
        health = await worker.get("/health")
        assert health.status == 200
        assert health.json["handlers_unknown"] == "not known while the database is unreachable"
        assert health.json["handlers"]["note"]["behind"] is None
        metrics = await worker.get("/metrics")
        assert (metrics.status, "hearken_database_up 0.0" in metrics.text) == (200, True)
        assert "hearken_lag_seconds{" not in metrics.text
        await asyncio.to_thread(postgres.start)
        await worker.until_ready()


async def test_a_database_that_is_silent_is_red_in_seconds(empty_database_url: str) -> None:
    """A network that swallows everything: the probes still answer, and it is forgiven when it speaks again."""
    registry = quiet()
    await prepare(empty_database_url, registry)
    async with (
        proxy_to(empty_database_url) as network,
        served(network.through(empty_database_url), registry, prepared=False) as worker,
    ):
        await worker.until_ready()
        network.freeze()
        await worker.until_red("database", "no answer")
        assert (await worker.get("/livez")).status == 200
        assert (await worker.get("/metrics")).status == 200
        network.thaw()
        await worker.until_ready()


async def test_probes_are_answered_before_the_database_is_there(postgres: EmbeddedPostgres) -> None:
    """A worker that starts without its database is alive, says what it waits for, and becomes ready."""
    registry = quiet()
    await prepare(postgres.url, registry)
    await asyncio.to_thread(postgres.stop)
    async with served(postgres.url, registry, prepared=False) as worker:
        assert (await worker.get("/livez")).status == 200
        await worker.until_red("worker", "refused")
        await asyncio.to_thread(postgres.start)
        await worker.until_ready()


async def test_what_is_not_migrated_is_said(empty_database_url: str) -> None:
    """An empty database: red with the command to run and the files that are pending."""
    await execute(empty_database_url, THINGS)
    async with served(empty_database_url, quiet(), prepared=False) as worker:
        line = await worker.until_red("migrations", "hearken migrate")
        assert "schema/engine/0001_log.sql" in line
        await worker.until_red("worker", "hearken migrate")
        await worker.until_red("triggers", "not known before the migrations")


async def test_a_trigger_dropped_by_hand_is_named(empty_database_url: str) -> None:
    """Red with the trigger's name and table; migrated again, green again."""
    registry = quiet()
    async with served(empty_database_url, registry) as worker:
        await worker.until_ready()
        ((name,),) = await execute(
            empty_database_url,
            "select tgname from pg_trigger where tgrelid = 'things'::regclass and tgname like '%%insert%%'",
        )
        await execute(empty_database_url, f'drop trigger "{name}" on things')
        assert f"trigger {name} on public.things: missing" in await worker.until_red("triggers")
        await prepare(empty_database_url, registry)
        await worker.until_ready()


async def test_a_lost_listening_connection_is_red_until_it_is_proven_again(empty_database_url: str) -> None:
    """Terminated, and kept from coming back: red. Let in again: listening, proven anew."""
    async with served(empty_database_url, quiet()) as worker:
        await worker.until_ready()
        listener = worker.app.doorbell.listener
        proven_at = listener.proven_at
        ((database,),) = await execute(empty_database_url, "select current_database()")
        elsewhere = empty_database_url.replace(f"/{database}", "/postgres")
        await execute(elsewhere, f"alter database {database} with allow_connections false")
        (row,) = await listener.execute("select pg_backend_pid() as pid")
        await execute(elsewhere, "select pg_terminate_backend(%s)", row["pid"])
        await worker.until_red("listener", "being opened")
        await execute(elsewhere, f"alter database {database} with allow_connections true")
        await worker.until_ready()
        assert listener.proven_at != proven_at


async def test_polling_behind_a_pooler_is_green_but_said(empty_database_url: str) -> None:
    """It works, slower: that is no reason to be taken out of service."""
    async with served(empty_database_url, quiet(), listen_check=1000) as worker:
        await worker.until_ready()
        worker.app.doorbell.listener.state = "polling"
        reply = await worker.get("/readyz")
        assert (reply.status, "pooler" in reply.line("listener")) == (200, True)


async def test_a_handler_that_is_stuck_is_red(empty_database_url: str) -> None:
    """Its one place is taken, it is behind and not moving: red, with what it has before it. Moving again: green."""
    registry = Registry()
    called, released = held(registry)
    async with served(empty_database_url, registry, stalled_after=0.3) as worker:
        await worker.until_ready()
        await add_thing(empty_database_url)
        await called.wait()
        await add_thing(empty_database_url, 2)
        line = await worker.until_red("handler note")
        assert "not moving: behind by 1 events" in line
        handler = (await worker.get("/health")).json["handlers"]["note"]
        assert (handler["state"], handler["behind"]) == ("working", 1)
        assert handler["oldest_seconds"] > 0.3
        released.set()
        await worker.until_ready()


async def test_a_handler_with_nothing_to_do_is_green_for_as_long_as_it_likes(empty_database_url: str) -> None:
    """Not moving is no fault of one that is not behind, and its database is what knows."""
    async with served(empty_database_url, quiet(), stalled_after=0.001) as worker:
        await until_idle(worker)
        reply = await worker.until_ready()
        assert reply.line("handler note") == "ok  handler note: idle"


async def test_a_stuck_cursor_of_another_worker_is_red_here_too(empty_database_url: str) -> None:
    """The worker that waits for the cursor sees in the database that it does not move."""
    registry, mine = Registry(), Registry()
    called, released = holding_its_batch(registry)
    holding_its_batch(mine)
    async with served(empty_database_url, registry, stalled_after=0.3) as other:
        await add_thing(empty_database_url)
        await called.wait()
        async with served(empty_database_url, mine, stalled_after=0.3) as worker:
            line = await worker.until_red("handler note", "in another worker")
            assert "behind by 1 events" in line
            released.set()
            await worker.until_ready()
        await other.until_ready()


async def test_a_handler_whose_every_batch_is_rolled_back_is_red(empty_database_url: str) -> None:
    """A cursor from another database is refused, again and again: red with what to do, behind or not."""
    async with served(empty_database_url, quiet(), stalled_after=0.3) as worker:
        await worker.until_ready()
        await execute(empty_database_url, "update hearken.cursors set cluster = 'elsewhere'")
        await add_thing(empty_database_url)
        line = await worker.until_red("handler note", "rolled back")
        assert "hearken rebase" in line
        health = await worker.get("/health")
        assert health.json["handlers"]["note"]["state"] == "in trouble"


async def test_three_batches_rolled_back_in_a_row_are_red(empty_database_url: str) -> None:
    """Long before anything is late; and green again with the first one that is committed."""
    async with served(empty_database_url, quiet(), stalled_after=300) as worker:
        await worker.until_ready()
        await execute(empty_database_url, "update hearken.cursors set cluster = 'a' || cluster")
        await add_thing(empty_database_url)
        line = await worker.until_red("handler note", "times in a row")
        assert "hearken rebase" in line
        await execute(empty_database_url, "update hearken.cursors set cluster = substr(cluster, 2)")
        await worker.until_ready()


async def test_a_circuit_that_needs_a_person_is_red_at_once(empty_database_url: str) -> None:
    """A refused key: red with the handler's reason, long before anything is late."""
    registry = raising(Unavailable("the key was revoked", alarm=True))
    async with served(empty_database_url, registry) as worker:
        await worker.until_ready()
        await add_thing(empty_database_url)
        assert "until a person fixes it: the key was revoked" in await worker.until_red("handler note")
        circuit = (await worker.get("/health")).json["handlers"]["note"]["circuit"]
        assert circuit == {"open": True, "reason": "the key was revoked", "alarm": True}


async def test_a_destination_that_stays_away_is_red_while_something_waits_for_it(empty_database_url: str) -> None:
    """An open circuit is borne for a while; then it is red, for the handler is behind."""
    registry = raising(Unavailable("503 from there"))
    async with served(empty_database_url, registry, stalled_after=0.5) as worker:
        await worker.until_ready()
        await execute(empty_database_url, "insert into things select i, 'x' from generate_series(1, 20) i")
        line = await worker.until_red("handler note", "destination unavailable")
        assert "503 from there" in line


async def test_a_dead_event_is_counted_in_health(empty_database_url: str) -> None:
    """It is for a person: visible, not red, and without what was in the row."""
    async with served(empty_database_url, raising(Park("no good"))) as worker:
        await worker.until_ready()
        await add_thing(empty_database_url)
        reply = await worker.until("/health", lambda reply: reply.json["handlers"]["note"]["dead"] == 1)
        assert reply.json["ready"]
        assert SECRET not in reply.text


async def test_a_paused_handler_is_said_to_be(empty_database_url: str) -> None:
    """Who paused it knows why it is behind: green, with the reason."""
    async with served(empty_database_url, quiet(), stalled_after=0.001) as worker:
        await worker.until_ready()
        await execute(
            empty_database_url, "insert into hearken.paused (handler, by, reason) values ('note', 'me', 'a migration')"
        )
        await add_thing(empty_database_url)
        green = "ok  handler note: paused: a migration"
        await worker.until("/readyz", lambda reply: reply.line("handler note") == green)
        health = await worker.until("/health", lambda reply: reply.json["handlers"]["note"]["behind"] == 1)
        assert health.json["handlers"]["note"]["paused"] == "a migration"


async def test_a_declared_check_says_what_is_wrong(empty_database_url: str) -> None:
    """Its own text, in one line."""

    async def account(value: str) -> str:
        raise CheckFailed(f"{value} is not ours:\n  set another key")

    async with served(empty_database_url, checked("account", account)) as worker:
        assert await worker.until_red("account") == "RED account: outside is not ours: set another key"


async def test_a_check_that_breaks_is_red_with_its_class_alone(empty_database_url: str) -> None:
    """Not a 500, and not what the exception says."""

    async def account(value: str) -> str:
        raise KeyError(SECRET)

    async with served(empty_database_url, checked("account", account)) as worker:
        assert await worker.until_red("account") == "RED account: KeyError"


async def test_a_check_that_hangs_is_red_and_holds_up_nobody(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that ignores its cancellation."""
    monkeypatch.setattr("worker.observe.health.ANSWER_WITHIN", 0.2)
    released = asyncio.Event()

    async def account(value: str) -> str:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return "fine"

    async with served(empty_database_url, checked("account", account)) as worker:
        assert await worker.until_red("account") == "RED account: no answer within 0.2 s"
        released.set()
        await worker.until_ready()


async def test_many_probes_ask_once(empty_database_url: str) -> None:
    """A hundred at a time share one answer."""
    asked = 0

    async def account(value: str) -> str:
        nonlocal asked
        asked += 1
        return "fine"

    async with served(empty_database_url, checked("account", account)) as worker:
        await worker.until_ready()
        asked = 0
        replies = await asyncio.gather(*(worker.get("/readyz") for _ in range(100)))
        assert {reply.status for reply in replies} == {200}
        assert asked <= 3  # one a second, on a machine that may be slow


async def test_probes_are_answered_until_the_end(empty_database_url: str) -> None:
    """Told to stop, with a handler still at it: alive, but not ready. Afterwards the port is free."""
    registry = Registry()
    called, released = held(registry)
    async with served(empty_database_url, registry) as worker:
        await worker.until_ready()
        await add_thing(empty_database_url)
        await called.wait()
        worker.app.stop()
        assert await worker.until_red("worker") == "RED worker: stopping"
        assert (await worker.get("/livez")).status == 200
        released.set()
        await worker.work
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", int(worker.url.rpartition(":")[2]))
