"""A database that cannot carry the log, or not for this role: the worker says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from psycopg import sql

from tests.support.pooler import Pooler
from tests.support.standby import standby_of
from tests.support.things import connect, observed, watch_things, write_things
from tests.support.witness import Witness
from tests.support.workers import start_worker
from worker.dev.embedded import EmbeddedPostgres
from worker.errors import Unsupported
from worker.postgres import database
from worker.postgres.database import Database
from worker.settings import Settings

MODULES = observed("external", "impatient")
REPLICA = "DATABASE_URL points to a read replica: use the primary's address, a worker must write its cursors"
SETTINGS = "select name, setting from pg_settings where source = 'session' order by name"


async def delivers(url: str, witness: Witness, events: int) -> None:
    """A worker with the right address delivers what has come meanwhile, each event once."""
    async with start_worker(url, MODULES, witness):
        await witness.until_done(events)
    assert len(witness.events()) == events


async def test_a_pooler_in_transaction_mode_is_refused(database_url: str) -> None:
    """The worker says what to give instead, leaves nothing on connections that others use, and nothing is lost."""
    await watch_things(database_url, MODULES)
    async with Pooler(database_url, "transaction") as pooler, Witness() as witness:
        async with await connect(pooler.url) as application:
            before = await (await application.execute(SETTINGS, prepare=False)).fetchall()
            async with start_worker(pooler.url, MODULES, witness) as worker:
                line = await worker.said("not ready")
                assert "pooler in transaction mode" in line["reason"]
                assert "use the server's own address, or the pooler's session mode" in line["reason"]
                await write_things(database_url, keys=3, versions=range(2))
                await worker.said("not ready", after=len(worker.lines))
            for _ in range(10):
                assert await (await application.execute(SETTINGS, prepare=False)).fetchall() == before
        assert witness.events() == []
        await delivers(database_url, witness, 6)


async def test_where_notifications_are_lost_the_worker_says_so_and_polls(database_url: str) -> None:
    """A pooler that is otherwise faithful: an error in the log, and everything is delivered all the same."""
    await watch_things(database_url, MODULES)
    async with (
        Pooler(database_url, "deaf") as pooler,
        Witness() as witness,
        start_worker(pooler.url, MODULES, witness) as worker,
    ):
        line = await worker.said("notifications do not come back, polling instead")
        assert line["level"] == "error"
        for versions in range(3):
            await write_things(database_url, keys=2, versions=[versions])
            await witness.until_done(2 * versions + 2, seconds=5)
        assert len(witness.events()) == 6


async def test_a_read_replica_is_refused(postgres: EmbeddedPostgres, server_directory: Path) -> None:
    """A hot standby: the worker says that it is one, and the events stay for a worker on the primary."""
    await watch_things(postgres.url, MODULES)
    await write_things(postgres.url, keys=2, versions=range(2))
    async with Witness() as witness:
        async with (
            standby_of(postgres, server_directory / "postgres", server_directory / "standby") as url,
            start_worker(url, MODULES, witness) as worker,
        ):
            await worker.said("not ready", reason=REPLICA)
        await delivers(postgres.url, witness, 4)


async def test_a_server_that_is_too_old_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the oldest that works. (No older one is at hand: this one is declared to be.)"""
    monkeypatch.setattr(database, "OLDEST_SERVER", 990000)
    with pytest.raises(Unsupported, match=r"older than Postgres 14, .* upgrade it"):
        await Database(Settings.model_validate({"DATABASE_URL": database_url})).connect()


async def as_role(url: str, role: str) -> str:
    """The URL for a new role, which may do nothing."""
    async with await connect(url) as connection:
        await connection.execute(sql.SQL("create role {} login password 'open'").format(sql.Identifier(role)))
    parts = urlsplit(url)
    return parts._replace(netloc=f"{role}:open@{parts.hostname}:{parts.port}").geturl()


async def test_a_role_without_rights_is_told_what_to_grant(postgres: EmbeddedPostgres) -> None:
    """Before anything is delivered; the statements of the message are all that is wanting, in any name's spelling."""
    await watch_things(postgres.url, MODULES)
    await write_things(postgres.url, keys=2, versions=range(2))
    url = await as_role(postgres.url, "Worker-1")
    async with Witness() as witness, start_worker(url, MODULES, witness) as worker:
        line = await worker.said("not ready")
        explanation, _, grants = line["reason"].partition("run: ")
        assert "Worker-1" in explanation
        assert grants.startswith('grant usage on schema hearken to "Worker-1"; grant select')
        assert witness.events() == []
        async with await connect(postgres.url) as owner:
            await owner.execute(grants.encode())
        await witness.until_done(4)
        assert len(witness.events()) == 4


async def test_a_role_that_may_read_but_not_settle_delivers_nothing(postgres: EmbeddedPostgres) -> None:
    """One that cannot move its cursor would deliver the same events for ever: it is stopped before the first."""
    await watch_things(postgres.url, MODULES)
    await write_things(postgres.url, keys=1, versions=range(1))
    url = await as_role(postgres.url, "reader")
    async with await connect(postgres.url) as owner:
        await owner.execute("grant usage on schema hearken to reader")
        await owner.execute("grant select on all tables in schema hearken to reader")
    async with Witness() as witness, start_worker(url, MODULES, witness) as worker:
        line = await worker.said("not ready")
        assert 'grant insert, update, delete on hearken.cursors to "reader"' in line["reason"]
        assert witness.events() == []
