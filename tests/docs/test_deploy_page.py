"""What the page on deployment says is tried: rights, probes, and the variables that a platform is given."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import LiteralString

import aiohttp
import psycopg
import pytest

from handlers.packages import CrmSettings
from handlers.stripe import StripeSettings
from handlers.stripe.local import LocalStripe
from tests.support.cli import program
from tests.support.least_rights import granted_role
from tests.support.pages import Block, page, runs
from tests.support.players import TELL, connect
from tests.support.workers import start_worker
from worker.postgres.database import ENGINE
from worker.settings import Settings
from worker.sources.timetable import append_ticks

PAGE = page("docs/deploy.md")
TELL_OF_BEATS: LiteralString = """
create function public.beat() returns trigger language plpgsql
    as 'begin perform pg_notify(''beat'', ''''); return null; end';
create trigger beat after update of returned on hearken.canary for each statement execute function public.beat()
"""
GRANTS, PROBES, HEROKU = page("README.md").block("sql", "create role"), PAGE.block("yaml"), PAGE.block("sh", "heroku")


@pytest.fixture
async def stripe() -> AsyncIterator[LocalStripe]:
    async with LocalStripe() as server:
        yield server


@runs(GRANTS, PROBES)
async def test_the_least_rights_are_enough(blocks: tuple[Block, Block], database_url: str, stripe: LocalStripe) -> None:
    """A worker with the role that the page grants becomes ready, answers the probes, and writes to Stripe."""
    environment = {"STRIPE_SECRET_KEY": stripe.key, "STRIPE_API_BASE": stripe.url}
    assert (await program(database_url, "migrate", HEARKEN_HANDLERS="handlers", **environment)).code == 0
    environment["HEARKEN_CANARY_SECONDS"] = "0.5"
    with granted_role(database_url, blocks[0]) as url:
        async with start_worker(url, ["handlers"], None, **environment) as worker:
            await worker.said("working")
            await worker.said("listening")
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("insert into public.spaces (name, capacity, price_per_hour) values ('Blue', 4, 20)")
            await stripe.wait_for(lambda calls: any(c.path.endswith("/products/space_1") for c in calls))
            port = (await worker.said("listening for HTTP"))["port"]
            assert await _probe(port, blocks[1]) == {"/livez": 200, "/readyz": 200}
            await _until_a_beat_is_back(database_url)


async def _until_a_beat_is_back(url: str) -> None:
    async with asyncio.timeout(20), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(TELL_OF_BEATS)
        await connection.execute("listen beat")
        async for _ in connection.notifies(stop_after=1):
            pass


async def _probe(port: int, probes: Block) -> dict[str, int]:
    paths = re.findall(r"path: (/\w+)", probes.text)
    async with aiohttp.ClientSession() as session:
        return {path: (await session.get(f"http://127.0.0.1:{port}{path}")).status for path in paths}


@runs(GRANTS)
async def test_the_least_rights_are_enough_for_sessions(blocks: tuple[Block], database_url: str) -> None:
    """With them a worker makes the invoice, follows the session, counts it down, and ends what is paid back."""
    given = {"HEARKEN_HANDLERS": "handlers", "STRIPE_SECRET_KEY": "sk_test_unused"}
    assert (await program(database_url, "migrate", **given)).code == 0
    with granted_role(database_url, blocks[0]) as url:
        async with (
            start_worker(url, ["handlers.sessions"]) as worker,
            await connect(database_url) as application,
            await connect(database_url) as listening,
        ):
            await worker.said("working")
            await application.execute(TELL)
            await listening.execute("listen told")

            async def until(query: str, wanted: object) -> None:
                while await (await application.execute(query.encode())).fetchall() != [{"found": wanted}]:
                    async for _ in listening.notifies(timeout=0.5, stop_after=1):
                        pass

            bought = "insert into purchases (minutes, payment_status) values (60, 'completed'), (60, 'completed')"
            await application.execute(bought.encode())
            await until("select count(*) as found from invoices", 2)
            await application.execute(
                "select start_session((activate_invoice(number)).id) from invoices order by purchase_id"
            )
            await until("select count(*) as found from purchases where session_status = 'active'", 2)
            await application.execute("update purchases set payment_status = 'refunded' where id = 2")
            await until("select session_status as found from purchases where id = 2", "cancelled")
            await application.execute(
                "update active_game_sessions_v2 set last_countdown_at = now() - interval '1 hour'"
            )
            async with application.transaction():
                await append_ticks(application, "count_down", [datetime.now(UTC)])
            await until("select session_status as found from purchases where id = 1", "completed")
            dead = await application.execute("select from hearken.parked where state = 'dead'")
            assert await dead.fetchall() == []
            await until("select count(*) as found from invoice_audit_log", 6)


@runs(HEROKU)
def test_heroku_is_given_settings_that_there_are(blocks: tuple[Block]) -> None:
    """Heroku's own program cannot be run here; the variables are settings, the dyno one of the Procfile."""
    config, push, scale = blocks[0].text.splitlines()
    fields = {str(f.alias) for c in (Settings, StripeSettings, CrmSettings) for f in c.model_fields.values()}
    names = re.findall(r"([A-Z_]+)=", config)
    assert names
    assert set(names) <= fields
    assert push == "git push heroku main"
    (dyno,) = re.findall(r"(\w+)=1", scale)
    assert f"\n{dyno}: " in (PAGE.path.parents[1] / "Procfile").read_text()


def test_the_connections_are_those_of_the_settings() -> None:
    """One to listen, one for health checks, the engine's own, and as many as both settings say."""
    (total,) = re.findall(r"keeps (\d+) connections", PAGE.prose)
    fields = Settings.model_fields
    assert int(total) == 2 + ENGINE + fields["batches"].default + fields["connections"].default
