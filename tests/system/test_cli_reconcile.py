"""Promise: `hearken reconcile spaces` and `replay --dry-run` say where Stripe differs; what is sent is mended."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from handlers.spaces import sync_space
from handlers.stripe import stripe
from tests.support.cli import Result, open_rooms, program, start
from tests.support.filling import telling
from tests.support.local_stripe import sdk
from tests.support.shop import Shop, open_shop
from tests.support.workers import start_worker
from worker.dev.ports import free_port
from worker.testing import Bench, bench

MODULES = "handlers.spaces"
SENT = "select count(*) as n from hearken.events where op = 'snapshot'"


@dataclass
class Desk:
    """Two spaces that agree with Stripe, and an operator's environment."""

    url: str
    shop: Shop
    stage: Bench

    @property
    def environment(self) -> dict[str, str]:
        server = self.shop.server
        stripe_at = {"STRIPE_SECRET_KEY": server.key, "STRIPE_API_BASE": server.url, "HEARKEN_STRIPE_RPS": "1000"}
        return {"HEARKEN_HANDLERS": MODULES, **stripe_at}

    async def run(self, *arguments: str) -> Result:
        return await program(self.url, *arguments, **self.environment)

    async def rename(self, *keys: int) -> None:
        """Change products by hand."""
        async with sdk(self.shop.server) as api:
            for key in keys:
                await api.products.update_async(f"space_{key}", {"name": "By hand"})


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    """A desk with two spaces."""
    async with (
        open_shop(database_url) as shop,
        bench(database_url, sync_space, resources={stripe: shop.client}) as stage,
    ):
        await stage.execute("insert into spaces (name, price_per_hour) values ('Blue', 25), ('Red', 30)")
        await stage.drain()
        shop.server.calls.clear()
        yield Desk(database_url, shop, stage)


async def test_drift_is_listed_and_nothing_written(desk: Desk) -> None:
    """Exit code 0 without, 1 with drift; a table for people, JSON for programs."""
    clean = await desk.run("reconcile", "spaces")
    assert (clean.code, clean.out, "no drift" in clean.err) == (0, "", True), clean
    await desk.rename(1)
    desk.shop.server.calls.clear()
    told, facts = await desk.run("reconcile", "spaces"), await desk.run("reconcile", "spaces", "--json")
    assert (told.code, facts.code) == (1, 1)
    assert 'name  1    space_1  name "By hand" → "Blue"' in told.out, told.out
    (drift,) = facts.json["drift"]
    assert (drift["kind"], drift["changed"]) == ("name", {"name": ["By hand", "Blue"]})
    assert desk.shop.writes() == []


async def test_a_running_worker_mends_what_is_sent(desk: Desk) -> None:
    """--apply exits with 0 when all was sent; reconciled once more, there is no drift."""
    await desk.rename(1, 2)
    async with (
        telling(desk.url, "hearken.effects") as told,
        start_worker(
            desk.url, [MODULES], None, **{k: v for k, v in desk.environment.items() if k != "HEARKEN_HANDLERS"}
        ),
    ):
        result = await desk.run("reconcile", "spaces", "--apply", "--json")
        assert (result.code, result.json["sent"]) == (0, ["1", "2"]), result
        while {p["name"] for p in desk.shop.products()} != {"Blue", "Red"}:
            await told()
    assert (await desk.run("reconcile", "spaces")).code == 0


async def test_what_only_a_person_can_mend_is_said(desk: Desk) -> None:
    """--apply then exits with 1, and sends the rest."""
    await desk.rename(1)
    await desk.stage.execute("update spaces set price_per_hour = 30.001 where id = 2")
    await desk.stage.drain()
    result = await desk.run("reconcile", "spaces", "--apply")
    assert (result.code, "row does not fit" in result.out, "needs a person: 1" in result.err) == (1, True, True), result
    assert await desk.stage.execute(SENT) == [{"n": 1}]


async def test_watching_until_interrupted(desk: Desk) -> None:
    """A document for each time; Ctrl-C ends it with 130, and no traceback."""
    async with start(desk.url, "reconcile", "spaces", "--watch", "1", "--json", **desk.environment) as process:
        assert process.stdout is not None
        first, second = await process.stdout.readline(), await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert b'"drift": []' in first
    assert first == second
    assert (process.returncode, b"Traceback" in err) == (130, False)


async def test_killed_in_the_middle_and_run_again(desk: Desk) -> None:
    """What was sent is in flight: nothing is sent twice."""
    await desk.rename(1, 2)
    apply = ("reconcile", "spaces", "--apply", "--rate", "0.5")
    async with (
        telling(desk.url, "hearken.events") as told,
        start(desk.url, *apply, **desk.environment) as process,
    ):
        await told()
        process.kill()
        await process.wait()
    assert await desk.stage.execute(SENT) == [{"n": 1}]
    again = await desk.run("reconcile", "spaces", "--apply", "--json")
    assert (again.json["in_flight"], again.json["sent"]) == (["1"], ["2"])
    assert await desk.stage.execute(SENT) == [{"n": 2}]


async def test_wrong_usage_is_one_line(desk: Desk) -> None:
    """An unknown system, a rate for nothing: exit code 2. Without a system, those that there are."""
    unknown = await desk.run("reconcile", "rooms")
    assert (unknown.code, unknown.err) == (2, "hearken: no such reconciler: rooms; known: spaces\n")
    assert (await desk.run("reconcile", "spaces", "--rate", "3")).code == 2
    listed = await desk.run("reconcile")
    assert (listed.code, listed.out) == (0, "spaces\n")
    keyless = await program(desk.url, "reconcile", "spaces", HEARKEN_HANDLERS=MODULES)
    assert (keyless.code, "STRIPE_SECRET_KEY" in keyless.err) == (2, True), keyless


async def test_only_the_settings_of_the_system_asked_are_needed(desk: Desk) -> None:
    """Half of the CRM's settings, which would keep a worker from starting, are no matter to what asks Stripe."""
    others = {**desk.environment, "HEARKEN_HANDLERS": "handlers", "CRM_SUPABASE_URL": "https://abc.supabase.co"}
    for arguments in (("reconcile", "spaces", "--apply"), ("replay", "1", "--dry-run"), ("explain", "spaces/1")):
        result = await program(desk.url, *arguments, **others)
        assert (result.code, "CRM_" in result.out + result.err) == (0, False), result
    del others["STRIPE_SECRET_KEY"]
    for arguments in (("reconcile", "spaces"), ("replay", "1", "--dry-run")):
        result = await program(desk.url, *arguments, **others)
        assert (result.code, "STRIPE_SECRET_KEY: is not set" in result.err) == (2, True), result
        assert "CRM_" not in result.err


async def test_a_database_that_is_away_is_one_line(desk: Desk) -> None:
    """Exit code 1, said once, and not by each pool of connections."""
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/gone"
    result = await program(away, "reconcile", "spaces", **desk.environment)
    assert (result.code, result.err.count("\n")) == (1, 1), result
    assert result.err.startswith("hearken: the database cannot be reached: ")


async def test_a_dry_run_says_what_a_replay_would_do(desk: Desk) -> None:
    """With the difference field by field; nothing is appended, and nothing is written at Stripe."""
    await desk.rename(1)
    desk.shop.server.calls.clear()
    before = await desk.stage.execute("select count(*) as n from hearken.events")
    told = await desk.run("replay", "1", "2", "--dry-run")
    assert told.code == 0, told
    assert (
        'public.spaces 1  update  (sync_space, event 1)\n  product.update space_1: name "By hand" → "Blue"' in told.out
    )
    assert "public.spaces 2  nothing" in told.out
    facts = (await desk.run("replay", "1", "2", "--dry-run", "--json")).json_lines
    assert [(one["key"], one["action"]) for one in facts] == [("1", "update"), ("2", "nothing")]
    assert desk.shop.writes() == []
    assert await desk.stage.execute("select count(*) as n from hearken.events") == before


async def test_a_handler_that_cannot_be_previewed_is_named(database_url: str) -> None:
    """Exit code 2, before anything is looked at."""
    async with open_rooms(database_url) as rooms:
        await rooms.execute("insert into rooms values (1, 'blue', 10)")
        result = await program(database_url, "replay", "1", "--dry-run")
    assert (result.code, result.err.count("\n")) == (2, 1), result
    assert "note_room, price_room cannot be previewed" in result.err
